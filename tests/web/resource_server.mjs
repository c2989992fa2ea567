// A resource server of somebody else's making: oauth4webapi checks the token and its DPoP proof (RFC 9068, RFC 9449),
// @sd-jwt/jwt-status-list reads the status list, which jose verified. A list is kept for as long as its ttl says.
// What is pushed to it (RFC 8935) it checks with jose, and refuses from then on whatever that says was revoked.
import { getListFromStatusListJWT, getStatusListFromJWT } from '@sd-jwt/jwt-status-list'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'

const insecure = { [oauth.allowInsecureRequests]: true } // loopback
const kept = new Map()
const servers = new Map()
const revoked = new Set()
const REVOKED = 'https://schemas.openid.net/secevent/caep/event-type/session-revoked'

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

async function heard(text, issuer, audience) {
  const told = await (await fetch(new URL('/.well-known/ssf-configuration', issuer))).json()
  if (told.issuer !== issuer) throw new Error('another issuer')
  const wanted = { typ: 'secevent+jwt', issuer, audience, algorithms: ['RS256'], requiredClaims: ['jti', 'iat', 'txn'] }
  const { payload } = await jwtVerify(text, createRemoteJWKSet(new URL(told.jwks_uri)), wanted)
  if ('sub' in payload || 'exp' in payload || Object.keys(payload.events).length !== 1) throw new Error('no event')
  if (!(REVOKED in payload.events)) return
  const { format, jti, session } = payload.sub_id
  revoked.add(format === 'jwt_id' ? jti : session.id)
}

function listens(issuer, audience) {
  return new Promise((started) => {
    const inbox = createServer(async (request, answer) => {
      let text = ''
      for await (const part of request) text += part
      try {
        await heard(text, issuer, audience)
        answer.writeHead(202).end()
      } catch (refused) {
        answer.writeHead(400, { 'content-type': 'application/json' })
        answer.end(JSON.stringify({ err: 'invalid_request', description: String(refused) }))
      }
    })
    inbox.listen(0, '127.0.0.1', () => started(inbox.address().port))
  })
}

for await (const line of createInterface({ input: process.stdin })) {
  const { issuer, audience, url, token, proof, later = 0, index, listen } = JSON.parse(line)
  if (listen) {
    console.log(JSON.stringify({ port: await listens(issuer, audience) }))
    continue
  }
  try {
    const { as } = await server(issuer)
    const request = new Request(url, { headers: { authorization: `DPoP ${token}`, dpop: proof } })
    const claims = await oauth.validateJwtAccessToken(as, request, audience, { requireDPoP: true, ...insecure })
    if (revoked.has(claims.jti) || revoked.has(claims.txn)) throw new Error('revoked by a signal')
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
