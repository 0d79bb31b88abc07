// Runs calls of the official Node.js client, one JSON line in, one JSON line out, so that a single interpreter serves
// all tests. A call: {base, kind: "methods" | "signatures" | "predict" | "generate", args}. An answer: {value} or {error}.
const { createRequire } = require("module");
const readline = require("readline");

const { Model } = createRequire(process.argv[2] + "/")("clarifai-nodejs");
const URL = "https://clarifai.com/openai/chat-completion/models/o4-mini";

const valueOf = (outputs) => outputs.map((output) => output.data.partsList[0]?.data);

async function run({ base, kind, args }) {
  const model = new Model({ url: URL, authConfig: { pat: "a-test-pat", base } });
  if (kind === "methods") return model.availableMethods();
  if (kind === "signatures") return model.methodSignatures();
  if (kind === "predict") return valueOf(await model.predict(args));
  const chunks = [];
  for await (const outputs of model.generate(args)) chunks.push(...valueOf(outputs));
  return chunks;
}

(async () => {
  // The client prints on its own account; the protocol has stdout for itself.
  console.log = console.error;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let answer;
    try {
      answer = { value: await run(JSON.parse(line)) };
    } catch (error) {
      answer = { error: String(error.message) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
  process.exit(0);
})();
