// npm oidc-provider with its CIBA feature, as the identity provider of two people, and what their apps would send it.
import { Provider, errors } from 'oidc-provider';

const { PORT, SECRET } = process.env;
const asked = new Map();
const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  clients: [{
    client_id: 'remit',
    client_secret: SECRET,
    redirect_uris: [],
    response_types: [],
    grant_types: ['urn:openid:params:grant-type:ciba'],
    backchannel_token_delivery_mode: 'poll',
  }],
  scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
  claims: { openid: ['sub'], profile: ['preferred_username'] },
  conformIdTokenClaims: false,
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, preferred_username: id }) }),
  ttl: { BackchannelAuthenticationRequest: 300, Grant: 600, AccessToken: 60, IdToken: 300 },
  features: {
    devInteractions: { enabled: false },
    ciba: {
      enabled: true,
      deliveryModes: ['poll'],
      processLoginHint: (ctx, hint) => hint,
      validateRequestContext: () => {},
      verifyUserCode: () => {},
      triggerAuthenticationDevice: (ctx, request) => asked.set(request.accountId, request),
    },
  },
});
provider.use(async (ctx, next) => {
  const [, kind, account] = ctx.path.split('/');
  if (kind !== 'app-yes' && kind !== 'app-no' && kind !== 'app') return next();
  const request = asked.get(account);
  ctx.body = request ? request.params : {};
  if (!request || kind === 'app') return undefined;
  let result = new errors.AccessDenied();
  if (kind === 'app-yes') {
    result = new provider.Grant({ accountId: account, clientId: 'remit' });
    result.addOIDCScope(request.scope);
    await result.save();
  }
  await provider.backchannelResult(request, result, { authTime: Math.floor(Date.now() / 1000) });
  return undefined;
});
provider.on('server_error', (ctx, error) => console.error(error));
provider.listen(Number(PORT), '127.0.0.1');
