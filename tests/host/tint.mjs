// Tint's verdict on every shader, from Dawn's null back end: no GPU, no driver.
//
//     node tint.mjs MODULES < shaders.json
//
// MODULES is the folder whose `node_modules` holds the npm package `webgpu`. The input is an array of
// `{ name, wgsl, entry, subgroups }`; the output an array of messages, empty when Tint accepts them all.
// A pipeline is made of each, because Dawn checks the default limits (workgroup memory,
// invocations, storage buffers) only there.

import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const require = createRequire(resolve(process.argv[2], 'package.json'));
const { create } = await import(pathToFileURL(require.resolve('webgpu')));

// The features a shader of this library may declare; limits stay at WebGPU's defaults.
const WANTED = ['subgroups', 'shader-f16'];

async function requestDevice(adapter) {
  const device = await adapter.requestDevice({
    requiredFeatures: WANTED.filter((feature) => adapter.features.has(feature)),
  });
  // What is wrong is collected below; Dawn would print it as well.
  device.addEventListener('uncapturederror', (event) => event.preventDefault());
  return device;
}

// naga knows subgroups without the directive and refuses it; Tint demands it.
const tintText = ({ wgsl, subgroups }) => (subgroups ? `enable subgroups;\n${wgsl}` : wgsl);

// Tint counts the directive as a line, the author of the shader does not.
function describe(shader, { lineNum, linePos, message }) {
  return `${shader.name}:${lineNum - (shader.subgroups ? 1 : 0)}:${linePos}: ${message}`;
}

async function complaints(device, shader) {
  const module = device.createShaderModule({ code: tintText(shader) });
  const { messages } = await module.getCompilationInfo();
  const errors = messages.filter(({ type }) => type === 'error');
  if (errors.length > 0) return errors.map((error) => describe(shader, error));
  try {
    const compute = { module, entryPoint: shader.entry };
    await device.createComputePipelineAsync({ layout: 'auto', compute });
    return [];
  } catch (error) {
    return [`${shader.name}: ${error.message}`];
  }
}

const gpu = create(['backend=null']);
const device = await requestDevice(await gpu.requestAdapter());
const found = [];
for (const shader of JSON.parse(readFileSync(0, 'utf8'))) {
  found.push(...(await complaints(device, shader)));
}
// Dawn keeps threads of its own: leave as soon as the answer is out.
process.stdout.write(JSON.stringify(found), () => process.exit(0));
