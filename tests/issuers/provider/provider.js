// A small OpenID Connect provider. Its sign-in page takes any name and password; the name becomes `sub`.
import Provider from "oidc-provider";

const { PORT, AUDIENCE, BACK, CLAIMS, SECRET } = process.env;
const claims = JSON.parse(CLAIMS);
const scopes = "patient/*.rs patient/Observation.rs user/*.rs user/Observation.rs system/*.rs launch/patient fhirUser";

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  clients: [
    { client_id: "fhir-server", client_secret: SECRET, redirect_uris: [BACK] },
    { client_id: "app", token_endpoint_auth_method: "none", redirect_uris: ["https://app.example/back"] },
    { client_id: "robot", client_secret: SECRET, grant_types: ["client_credentials"], redirect_uris: [], response_types: [] },
  ],
  cookies: { keys: [SECRET] },
  scopes: ["openid", "offline_access", ...scopes.split(" ")],
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  extraTokenClaims: (_, token) => claims[token.accountId],
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => AUDIENCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: scopes, audience: AUDIENCE, accessTokenFormat: "jwt" }),
    },
  },
});
provider.listen(Number(PORT), "127.0.0.1", () => console.log("ready"));
