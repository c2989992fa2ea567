// A resource server of somebody else's making: oauth4webapi checks the token and its DPoP proof (RFC 9068, RFC 9449),
// @sd-jwt/jwt-status-list reads the status list, which jose verified. A list is kept for as long as its ttl says.
import { getListFromStatusListJWT, getStatusListFromJWT } from '@sd-jwt/jwt-status-list'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import { createInterface } from 'node:readline'

const insecure = { [oauth.allowInsecureRequests]: true } // loopback
const kept = new Map()
const servers = new Map()

async function server(issuer) {
  if (!servers.has(issuer)) {
    const at = new URL(issuer)
    const found = await oauth.discoveryRequest(at, { algorithm: 'oauth2', ...insecure })
    const as = await oauth.processDiscoveryResponse(at, found)
    servers.set(issuer, { as, keys: createRemoteJWKSet(new URL(as.jwks_uri)) })
  }
  return servers.get(issuer)
}

async function list(issuer, uri, now) {
  const old = kept.get(uri)
  if (old && now < old.until) return old
  const answer = await fetch(uri, { headers: { accept: 'application/statuslist+jwt' } })
  const text = await answer.text()
  const { payload } = await jwtVerify(text, (await server(issuer)).keys, { typ: 'statuslist+jwt', subject: uri })
  const found = { list: getListFromStatusListJWT(text), ttl: payload.ttl, until: now + payload.ttl * 1000 }
  kept.set(uri, found)
  return found
}

for await (const line of createInterface({ input: process.stdin })) {
  const { issuer, audience, url, token, proof, later = 0, index } = JSON.parse(line)
  try {
    const { as } = await server(issuer)
    const request = new Request(url, { headers: { authorization: `DPoP ${token}`, dpop: proof } })
    const claims = await oauth.validateJwtAccessToken(as, request, audience, { requireDPoP: true, ...insecure })
    const { idx, uri } = getStatusListFromJWT(token)
    if (!uri.startsWith(`${issuer}/`)) throw new Error('a list of another issuer')
    const { list: found, ttl } = await list(issuer, uri, Date.now() + later * 1000)
    const status = found.getStatus(index ?? idx)
    if (status !== 0) throw new Error(`status ${status}`)
    console.log(JSON.stringify({ ok: true, client: claims.client_id, ttl }))
  } catch (refused) {
    console.log(JSON.stringify({ ok: false, error: refused.cause?.message ?? refused.message }))
  }
}
