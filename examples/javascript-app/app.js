// Measures how long a page takes to answer, by fetch and the language's own clock.

const text = (name, val) => ({ name, value: { tag: 'text', val } });
const integer = (name, val) => ({ name, value: { tag: 'integer', val: BigInt(val) } });

export const app = {
  describe() {
    const input = { default: undefined, choices: [], secret: false };
    return {
      summary: 'Measures how long a page takes to answer.',
      inputs: [{ ...input, name: 'url', valueType: 'text', required: true, help: 'The page.' }],
      outputs: [
        { name: 'status', valueType: 'integer', help: 'The HTTP status.' },
        { name: 'milliseconds', valueType: 'integer', help: 'How long the answer took.' },
        { name: 'length', valueType: 'integer', help: 'How many characters it has.' },
        { name: 'measurement', valueType: 'text', help: 'A name of its own for this measurement.' },
        { name: 'measured_at', valueType: 'text', help: 'When, as RFC 3339 in UTC.' },
      ],
    };
  },

  async run(_call, inputs) {
    try {
      return await measured(inputs);
    } catch (error) {
      // What is thrown and is no error of the contract ends the call with a trap, and its text with it.
      throw error.retry ? error : { message: `${error}`, retry: { tag: 'no' } };
    }
  },
};

async function measured(inputs) {
  const { val: url } = inputs.find(({ name }) => name === 'url').value;
  const began = Date.now();
  let response, body;
  try {
    response = await fetch(url);
    body = await response.text();
  } catch (error) {
    throw { message: `${url} was not reached: ${error.message}`, retry: { tag: 'yes' } };
  }
  console.log(`${url} answered ${response.status}`);
  return [
    integer('status', response.status),
    integer('milliseconds', Date.now() - began),
    integer('length', body.length),
    text('measurement', Math.random().toString(36).slice(2)),
    text('measured_at', new Date(began).toISOString()),
  ];
}
