// Holds Microsoft Teams' cards and Jira's documents against their vendors' own readers and schemas.
// Takes the folder of npm's packages, and the JSON file `formatters.py` takes. Prints a line for each channel.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { argv } from "node:process";

const [, , modules, file] = argv;
const require = createRequire(join(modules, "formatters.js"));
const { AdaptiveCard, Versions, SerializationContext } = require("adaptivecards/dist/adaptivecards.js");
const Ajv = require("ajv-draft-04");

const sent = JSON.parse(readFileSync(file, "utf8"));

function* bodies(channel) {
  for (const [name, steps] of Object.entries(sent[channel])) {
    for (const step of steps) {
      const body = step.send?.outgoing.http.body;
      if (body) yield [name, JSON.parse(body)];
    }
  }
}

function hold(condition, message) {
  if (!condition) throw new Error(message);
}

let cards = 0;
for (const [name, body] of bodies("msteams")) {
  const given = body.attachments[0].content;
  const card = new AdaptiveCard();
  const context = new SerializationContext(Versions.v1_5);
  card.parse(given, context);
  const events = Array.from({ length: context.eventCount }, (_, index) => context.getEventAt(index).message);
  hold(events.length === 0, `msteams: ${name}: ${events.join("; ")}`);
  const failures = card.validateProperties().validationEvents.map((event) => event.message);
  hold(failures.length === 0, `msteams: ${name}: ${failures.join("; ")}`);
  hold(card.getItemCount() === given.body.length, `msteams: ${name}: an element was not read`);
  hold(card.getActionCount() === (given.actions ?? []).length, `msteams: ${name}: an action was not read`);
  cards += 1;
}
console.log(`msteams: ${cards} cards`);

const schema = JSON.parse(readFileSync(join(modules, "@atlaskit/adf-schema/dist/json-schema/v1/full.json"), "utf8"));
const validate = new Ajv({ allErrors: false, strict: false }).compile(schema);
hold(!validate({ version: 1, type: "doc", content: [{ type: "text", text: "" }] }), "the schema takes anything");
let documents = 0;
for (const [name, body] of bodies("jira")) {
  const document = body.fields?.description;
  if (!document) continue;
  hold(validate(document), `jira: ${name}: ${JSON.stringify(validate.errors?.[0])}`);
  documents += 1;
}
console.log(`jira: ${documents} documents`);
