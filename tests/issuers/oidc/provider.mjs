// npm oidc-provider as the authorization server of one resource, with the pages by which its own demo signs people in.
import { Provider } from 'oidc-provider';

const { PORT, RESOURCE, REMIT_KEYS, FORMAT } = process.env;
const issuer = `http://127.0.0.1:${PORT}`;
const own = {
  client_id: 'remit',
  redirect_uris: [],
  response_types: [],
  grant_types: ['client_credentials'],
  token_endpoint_auth_method: 'private_key_jwt',
  jwks_uri: REMIT_KEYS,
};
const provider = new Provider(issuer, {
  clients: [own, { client_id: 'reader', client_secret: 'reader-secret', redirect_uris: [], response_types: [], grant_types: [] }],
  clientAuthMethods: ['none', 'private_key_jwt', 'client_secret_basic', 'client_secret_post'],
  enabledJWA: { clientAuthSigningAlgValues: ['ES256'] },
  scopes: ['openid', 'offline_access', 'notes.read', 'notes.write'],
  // It reads nothing from loopback, which is where all of this is.
  fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
  rotateRefreshToken: true,
  ttl: { AccessToken: 120, ClientCredentials: 120, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600 },
  features: {
    devInteractions: { enabled: true },
    registration: { enabled: true },
    revocation: { enabled: true },
    introspection: { enabled: true },
    clientCredentials: { enabled: true },
    clientIdMetadataDocument: { enabled: true, ack: 'draft-02' },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (ctx, resource) => {
        if (resource !== RESOURCE) throw new Error('no such resource');
        return { scope: 'notes.read notes.write', audience: RESOURCE, accessTokenTTL: 120, accessTokenFormat: FORMAT };
      },
      useGrantedResource: () => true,
    },
  },
});
provider.on('server_error', (ctx, error) => console.error(error));
provider.listen(Number(PORT), '127.0.0.1', () => console.log(issuer));
