// fhir-kit-client against the server at FHIR_BASE; PEOPLE is a transaction of 25 patients with a weight each.
// https://github.com/Vermonster/fhir-kit-client

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Client } from 'fhir-kit-client';

const SYSTEM = 'http://example.org/clients';
const client = new Client({ baseUrl: process.env.FHIR_BASE });
const people = JSON.parse(readFileSync(process.env.PEOPLE, 'utf8'));

const ada = (value) => ({
  resourceType: 'Patient',
  identifier: [{ system: SYSTEM, value }],
  name: [{ family: 'Lovelace', given: ['Ada'] }],
  birthDate: '1815-12-10',
});
const create = (value, headers) =>
  client.create({ resourceType: 'Patient', body: ada(value), options: { headers } });
const search = (resourceType, searchParams, options) => client.search({ resourceType, searchParams, options });
const resources = (bundle) => (bundle.entry ?? []).map((entry) => entry.resource);
const refused = (status) => (error) => {
  assert.equal(error.response.status, status);
  assert.equal(error.response.data.resourceType, 'OperationOutcome');
  return true;
};

test('the CapabilityStatement', async () => {
  const statement = await client.capabilityStatement();
  assert.equal(statement.fhirVersion, '4.0.1');
  assert.ok(statement.rest[0].resource.some((resource) => resource.type === 'Patient'));
});

test('create, read, update, history, delete', async () => {
  const made = await create('crud');
  const { response } = Client.httpFor(made);
  assert.equal(response.status, 201);
  assert.equal(response.headers.get('etag'), 'W/"1"');
  assert.ok(response.headers.get('location').endsWith(`/Patient/${made.id}/_history/1`));

  const name = { resourceType: 'Patient', id: made.id };
  assert.deepEqual(await client.read(name), made);
  const updated = await client.update({ ...name, body: { ...made, gender: 'female' } });
  assert.equal(updated.meta.versionId, '2');
  assert.deepEqual(await client.vread({ ...name, version: '1' }), made);
  assert.deepEqual(resources(await client.history(name)), [updated, made]);

  const patched = await client.patch({ ...name, jsonPatch: [{ op: 'replace', path: '/gender', value: 'other' }] });
  assert.equal(patched.gender, 'other');
  assert.equal(Client.httpFor(await client.delete(name)).response.status, 204);
  await assert.rejects(client.read(name), refused(410));
  const methods = (await client.history(name)).entry.map((entry) => entry.request.method);
  assert.deepEqual(methods, ['DELETE', 'PATCH', 'PUT', 'POST']);
});

test('update with If-Match', async () => {
  const made = await create('if-match');
  const name = { resourceType: 'Patient', id: made.id };
  const options = { headers: { 'If-Match': 'W/"1"' } };
  const updated = await client.update({ ...name, body: { ...made, active: true }, options });
  assert.equal(updated.meta.versionId, '2');
  await assert.rejects(client.update({ ...name, body: { ...made, active: false }, options }), refused(412));
  assert.equal((await client.read(name)).active, true);
});

test('conditional create and update', async () => {
  const header = { 'If-None-Exist': `identifier=${SYSTEM}|once` };
  const [first, second] = [await create('once', header), await create('once', header)];
  assert.equal(Client.httpFor(first).response.status, 201);
  assert.equal(Client.httpFor(second).response.status, 200);
  assert.equal(second.id, first.id);
  const searchParams = { identifier: `${SYSTEM}|once` };
  assert.equal((await search('Patient', searchParams)).total, 1);
  const body = { ...ada('once'), gender: 'other' };
  const updated = await client.update({ resourceType: 'Patient', searchParams, body });
  assert.equal(updated.id, first.id);
  assert.equal(updated.gender, 'other');
});

test('transaction, searches and pages', async () => {
  const answer = await client.transaction({ body: people });
  assert.equal(answer.type, 'transaction-response');
  assert.ok(answer.entry.every((entry) => entry.response.status.startsWith('201')));

  const [seven] = resources(await search('Patient', { identifier: `${SYSTEM}|person-7` }));
  assert.deepEqual(seven.name[0].given, ['Number07']);
  const men = { family: 'paged', birthdate: ['ge1960', 'lt1970'], gender: 'male' };
  for (const postSearch of [false, true]) {
    const years = resources(await search('Patient', men, { postSearch })).map((patient) => patient.birthDate.slice(0, 4));
    assert.deepEqual(years.sort(), ['1960', '1962', '1964', '1966', '1968']);
  }
  const [weight] = resources(await search('Observation', { patient: seven.id }));
  assert.equal(weight.valueQuantity.value, 57);
  assert.deepEqual(await client.resolve({ reference: weight.subject.reference }), seven);
  const light = { 'value-quantity': 'lt53000|http://unitsofmeasure.org|g' };
  assert.equal(resources(await search('Observation', light)).length, 3);
  const compartment = { resourceType: 'Patient', id: seven.id };
  const inside = await client.search({ resourceType: 'Observation', compartment });
  assert.deepEqual(resources(inside), [weight]);

  const parameters = { family: 'Paged', _sort: '-birthdate', _count: '4' };
  const pages = [];
  for (let page = await search('Patient', parameters); page; page = await client.nextPage({ bundle: page })) {
    pages.push(page);
  }
  assert.deepEqual(pages.map((page) => page.entry.length), [4, 4, 4, 4, 4, 4, 1]);
  const years = pages.flatMap(resources).map((patient) => Number(patient.birthDate.slice(0, 4)));
  assert.deepEqual(years, Array.from({ length: 25 }, (_, i) => 1974 - i));
});

test('a batch answers each entry for itself', async () => {
  const entry = [
    { request: { method: 'GET', url: 'Patient/unknown' } },
    { request: { method: 'POST', url: 'Patient' }, resource: ada('batch') },
  ];
  const answer = await client.batch({ body: { resourceType: 'Bundle', type: 'batch', entry } });
  assert.deepEqual(answer.entry.map((each) => each.response.status.slice(0, 3)), ['404', '201']);
});

test('a refusal arrives as an outcome', async () => {
  const wrong = { ...ada('wrong'), gender: 'wrong' };
  await assert.rejects(client.create({ resourceType: 'Patient', body: wrong }), refused(400));
  await assert.rejects(search('Patient', { birthdate: 'yesterday' }), refused(400));
});
