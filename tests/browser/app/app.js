// A SMART app as its makers write one: opened with iss (and launch) it asks for access, with a code it shows the vitals.
const query = new URLSearchParams(location.search);
const place = (id) => document.getElementById(id);
const say = (id, text) => { place(id).textContent = text; };

function ask() {
  return FHIR.oauth2.authorize({
    iss: query.get("iss"),
    launch: query.get("launch") || undefined,
    clientId: query.get("client"),
    scope: query.get("scope"),
    redirectUri: "index.html",
    pkceMode: "required",
  });
}

async function start() {
  if (query.has("error")) return say("state", `refused: ${query.get("error")}`);
  if (query.has("iss") && !query.has("code")) return ask();
  const client = await FHIR.oauth2.ready();
  const told = () => {
    const { scope, patient, encounter, intent, need_patient_banner } = client.state.tokenResponse;
    say("granted", scope);
    say("context", JSON.stringify({ patient, encounter, intent, need_patient_banner }));
  };
  told();
  const patient = await client.patient.read();
  say("patient", `${patient.name[0].given[0]} ${patient.name[0].family}`);
  if (client.user.id) {
    const user = await client.user.read();
    say("user", `${user.resourceType} ${user.id}`);
  }

  async function read() {
    say("state", "reading");
    try {
      const found = await client.patient.request(place("path").value, { flat: true, pageLimit: 0 });
      place("vitals").replaceChildren(...found.map((one) => {
        const line = document.createElement("li");
        line.textContent = `${one.code.text}: ${one.valueQuantity.value} ${one.valueQuantity.unit}`;
        return line;
      }));
      say("state", `read ${found.length}`);
    } catch (error) {
      place("vitals").replaceChildren();
      say("state", `refused: ${error.status || error.message}`);
    }
  }

  async function refresh() {
    say("state", "refreshing");
    const before = client.state.tokenResponse;
    try {
      await client.refresh();
      const after = client.state.tokenResponse;
      told();
      // Within one second the access token may be the same one.
      const changed = before.refresh_token !== after.refresh_token;
      say("state", changed ? "refreshed" : "the same tokens");
    } catch (error) {
      say("state", `refused: ${error.message}`);
    }
  }

  place("read").addEventListener("click", read);
  place("refresh").addEventListener("click", refresh);
  await read();
}

start().catch((error) => say("state", `failed: ${error.message}`));
