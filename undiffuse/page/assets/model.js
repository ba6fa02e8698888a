// A trained run, as `undiffuse export --to onnx` wrote it: denoise(x, point) is E[x_0 | x_t].

import { conditionsOf, without } from "./conditions.js";
import { Schedule } from "./schedule.js";
import { lerp } from "./arrays.js";

const RUNTIME = new URL("./runtime/", import.meta.url);
let runtime = null; // one for all runs

async function onnxruntime() {
  runtime ??= (async () => {
    const ort = await import(new URL("ort.wasm.bundle.min.mjs", RUNTIME).href);
    ort.env.wasm.numThreads = 1; // several need headers that a plain file server does not send
    ort.env.wasm.wasmPaths = { wasm: new URL("ort-wasm-simd-threaded.wasm", RUNTIME).href };
    ort.env.logLevel = "error";
    return ort;
  })();
  return runtime;
}

async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url.pathname}: ${response.status} ${response.statusText}`);
  return response;
}

export class Model {
  static async load(folder) {
    const base = new URL(`./runs/${folder}/`, import.meta.url);
    const facts = await (await fetched(new URL("model.json", base))).json();
    const ort = await onnxruntime();
    const session = async (name) =>
      ort.InferenceSession.create(new Uint8Array(await (await fetched(new URL(name, base))).arrayBuffer()));
    return new Model(ort, facts, await session("model.onnx"), facts.data ? null : await session("decoder.onnx"));
  }

  constructor(ort, facts, network, decoder) {
    [this.ort, this.facts, this.network, this.decoder] = [ort, facts, network, decoder];
    this.schedule = new Schedule(facts.schedule);
    this.size = product(facts.latent_shape); // numbers of a state
    this.guidable = Object.keys(facts.conditions).length > 0 && facts.may_be_absent;
  }

  // denoise(x, point) for `count` samples that are asked to be what `choice` says, guided by `weight`:
  // weak + weight (strong - weak), weak being the answer without conditions (Ho and Salimans 2021).
  denoiser(count, choice, weight) {
    const asked = conditionsOf(this.facts.conditions, choice, count);
    if (!this.guidable || weight === 1) return (x, point) => this.run(x, count, point, asked);
    const both = asked.map((entry) => entry.joined(without(entry)));
    return async (x, point) => {
      const twice = new Float32Array(2 * x.length);
      twice.set(x);
      twice.set(x, x.length);
      const answer = await this.run(twice, 2 * count, point, both);
      return lerp(answer.subarray(x.length), answer.subarray(0, x.length), weight);
    };
  }

  async run(x, count, point, conditions) {
    const { Tensor } = this.ort;
    const given = {
      x: new Tensor("float32", x, [count, ...this.facts.latent_shape]),
      log_snr: new Tensor("float64", new Float64Array(count).fill(point.logSnr), [count]),
    };
    for (const entry of conditions) Object.assign(given, entry.tensors(Tensor, count));
    const feeds = Object.fromEntries(this.network.inputNames.map((name) => [name, given[name]]));
    return (await this.network.run(feeds)).belief.data;
  }

  // What diffuses as data, as it is stored: (count x numbers of a row).
  async decode(z, count) {
    if (!this.decoder) return this.scaledBack(z);
    const input = new this.ort.Tensor("float32", z, [count, ...this.facts.latent_shape]);
    return (await this.decoder.run({ z: input })).data.data;
  }

  scaledBack(z) {
    const { mean, std } = this.facts.data;
    const inner = this.size / mean.length; // numbers of a channel, or of a column
    return z.map((value, i) => {
      const channel = Math.floor((i % this.size) / inner);
      return mean[channel] + std[channel] * value;
    });
  }
}

export const product = (numbers) => numbers.reduce((a, b) => a * b, 1);
