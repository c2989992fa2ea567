// A strict OAuth client of somebody else's (oauth4webapi) asks for transaction tokens; what it got, as JSON lines.
import * as oauth from 'oauth4webapi'
import { createInterface } from 'node:readline'

const insecure = { [oauth.allowInsecureRequests]: true } // loopback
const TXN = 'urn:ietf:params:oauth:token-type:txn_token'
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
for await (const line of createInterface({ input: process.stdin })) {
  const { issuer, name, jwk, subject, kind, scope, domain } = JSON.parse(line)
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
  const { d, ...open } = jwk
  const privateKey = await crypto.subtle.importKey('jwk', jwk, algorithm, false, ['sign'])
  const publicKey = await crypto.subtle.importKey('jwk', open, algorithm, true, ['verify'])
  const at = new URL(issuer)
  const found = await oauth.discoveryRequest(at, { algorithm: 'oauth2', ...insecure })
  const as = await oauth.processDiscoveryResponse(at, found)
  const client = { client_id: name }
  const auth = oauth.PrivateKeyJwt({ key: privateKey, kid: jwk.kid })
  const DPoP = oauth.DPoP(client, { privateKey, publicKey })
  const asked = { requested_token_type: TXN, audience: domain, scope, subject_token: subject, subject_token_type: kind }
  const answer = await oauth.genericTokenEndpointRequest(as, client, auth, EXCHANGE, asked, { DPoP, ...insecure })
  try {
    const recognizedTokenTypes = { n_a: () => {} }
    const got = await oauth.processGenericTokenEndpointResponse(as, client, answer, { recognizedTokenTypes })
    console.log(JSON.stringify(got))
  } catch (refused) {
    console.log(JSON.stringify({ error: refused.error ?? String(refused), status: refused.status }))
  }
}
