// Operations on kernels in WGSL, for TensorFlow.js's backend `webgpu`: the tape and products of matrices stay the library's, the
// rest of an operation, and each of its gradients, is one dispatch where the library takes dozens.
import { rotationSpan } from '@duobit/format';
import type * as TensorFlow from '@tensorflow/tfjs-core';
import type { Scalar, Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core';
import { Constants } from '../constants.ts';
import { differentiable } from '../differentiable.ts';
import type { Operations } from '../operations.ts';
import { attention } from './attention.ts';
import { chosenLevels, nearestLevels, relaxedLevels } from './levels.ts';
import { eachRow, eachValue, type Launch, Programs, threadsFor } from './programs.ts';

type Tf = typeof TensorFlow;

/** Rows up to it fit the memory that every device has in a workgroup (16 KiB). */
const WIDEST_ROTATION = 4096;

/** @param composed serves what has no kernel: sums, products, the knee */
export function webGpuOperations(tf: Tf, composed: Operations): Operations {
  const programs = new Programs(tf);
  const constants = new Constants(tf);
  return {
    ...composed,
    weightedError: weightedError(tf, programs),
    rmsNorm: rmsNorm(tf, programs),
    rope: rope(tf, programs, constants),
    attention: attention(tf, programs),
    siluMul: siluMul(tf, programs),
    rotate: rotate(tf, programs, composed),
    quantizeActivations: quantizeActivations(tf, programs, composed),
    nearestLevels: nearestLevels(tf, programs),
    chosenLevels: chosenLevels(tf, programs),
    relaxedLevels: relaxedLevels(tf, programs),
    distillationLoss: distillationLoss(tf, programs),
  };
}

/** Of a matrix [rows, width] factor times the sums over rows, [width]. */
function columnSums(programs: Programs, parts: Tensor2D, factor = 1): Tensor1D {
  const [rows, width] = parts.shape;
  return programs.run('column-sums', [width], {
    inputs: { parts },
    threads: 256,
    workgroups: width,
    whole: { rows, width },
    real: { factor },
  });
}

function weightedError(tf: Tf, programs: Programs): Operations['weightedError'] {
  return (output, target, weights) =>
    differentiable(tf, (output: Tensor2D) => {
      const [rows, width] = output.shape;
      const inputs = { output, wanted: target, weights };
      const parts: Tensor2D = programs.run('weighted-error', [rows, 1], eachRow([rows, width], inputs));
      return {
        value: tf.reshape(columnSums(programs, parts, 1 / output.size), []) as Scalar,
        // What is no input lives no longer than the run, too, unless it is saved.
        saved: [output, target, weights],
        gradient: (gradient: Scalar, output: Tensor2D, wanted: Tensor2D, weights: Tensor1D) => [
          programs.run(
            'weighted-error-output',
            output.shape,
            eachValue(
              output.size,
              { output, wanted, weights, gradient },
              { whole: { width }, real: { factor: 2 / output.size } },
            ),
          ),
        ],
      };
    })(output);
}

function rmsNorm(tf: Tf, programs: Programs): Operations['rmsNorm'] {
  return (x, weight, epsilon) =>
    differentiable(tf, (x: Tensor2D, weight: Tensor1D) => {
      const [rows, width] = x.shape;
      const share = 1 / width;
      return {
        value: programs.run<Tensor2D>('norm', x.shape, eachRow(x.shape, { x, weight }, { share, epsilon })),
        saved: [x, weight],
        gradient: (gradient: Tensor2D, x: Tensor2D, weight: Tensor1D) => {
          const scale = programs.run('norm-scale', [rows], eachRow(x.shape, { x }, { share, epsilon }));
          const byColumn: Launch = {
            inputs: { x, scale, gradient },
            threads: 256,
            workgroups: width,
            whole: { rows, width },
          };
          return [
            programs.run('norm-input', x.shape, eachRow(x.shape, { x, weight, scale, gradient }, { share })),
            programs.run('norm-weight', [width], byColumn),
          ];
        },
      };
    })(x, weight);
}

function rope(tf: Tf, programs: Programs, constants: Constants): Operations['rope'] {
  return (x, heads, frequencies, { tokens }) => {
    const { cosine, sine } = constants.angles(frequencies, tokens);
    const half = frequencies.length;
    const turn = (input: Tensor2D, sign: 1 | -1): Tensor2D =>
      programs.run(
        'rope',
        input.shape,
        eachValue(
          input.size / 2,
          { x: input, cosine, sine },
          { whole: { half, heads, tokens }, real: { sign } },
        ),
      );
    return differentiable(tf, (x: Tensor2D) => ({
      value: turn(x, 1),
      saved: [],
      gradient: (g: Tensor2D) => [turn(g, -1)],
    }))(x);
  };
}

function siluMul(tf: Tf, programs: Programs): Operations['siluMul'] {
  return differentiable(tf, (gate: Tensor2D, up: Tensor2D) => ({
    value: programs.run<Tensor2D>('silu-mul', gate.shape, eachValue(gate.size, { gate, up })),
    saved: [gate, up],
    gradient: (gradient: Tensor2D, gate: Tensor2D, up: Tensor2D) => [
      programs.run('silu-mul-gate', gate.shape, eachValue(gate.size, { gate, up, gradient })),
      programs.run('silu-mul-up', up.shape, eachValue(gate.size, { gate, gradient })),
    ],
  }));
}

function rotate(tf: Tf, programs: Programs, composed: Operations): Operations['rotate'] {
  return (x) => {
    const [rows, width] = x.shape;
    if (width > WIDEST_ROTATION) return composed.rotate(x);
    const span = rotationSpan(width);
    const turn = (input: Tensor2D, inverse: boolean): Tensor2D =>
      programs.run('rotate', input.shape, {
        inputs: { x: input },
        threads: threadsFor(width),
        workgroups: rows,
        whole: { rows },
        real: { scale: 1 / Math.sqrt(span) },
        constants: { WIDTH: width, SPAN: span, INVERSE: inverse ? 1 : 0 },
      });
    return differentiable(tf, (x: Tensor2D) => ({
      value: turn(x, false),
      saved: [],
      gradient: (g: Tensor2D) => [turn(g, true)],
    }))(x);
  };
}

function quantizeActivations(
  tf: Tf,
  programs: Programs,
  composed: Operations,
): Operations['quantizeActivations'] {
  const plain = differentiable(tf, (x: Tensor2D, clips: Tensor1D) => ({
    value: programs.run<Tensor2D>('quantize', x.shape, eachRow(x.shape, { x, clips })),
    saved: [x, clips],
    gradient: (gradient: Tensor2D, x: Tensor2D, clips: Tensor1D): Tensor[] => {
      const launch = eachRow(x.shape, { x, clips, gradient });
      const ofRows: Tensor2D = programs.run('quantize-clips', [x.shape[0], 2], launch);
      return [programs.run('quantize-input', x.shape, launch), columnSums(programs, ofRows)];
    },
  }));
  return (x, clips, knee) => (knee ? composed.quantizeActivations(x, clips, knee) : plain(x, clips));
}

/** Of a row's statistics: two of the teacher, two of the student, the loss. */
const STATISTICS = 5;

function distillationLoss(tf: Tf, programs: Programs): Operations['distillationLoss'] {
  return (teacher, student) =>
    differentiable(tf, (student: Tensor2D) => {
      const [rows, width] = student.shape;
      const statistics: Tensor2D = programs.run(
        'distillation',
        [rows, STATISTICS],
        eachRow(student.shape, { teacher, student }),
      );
      return {
        value: tf.reshape(tf.slice(statistics, [0, STATISTICS - 1], [rows, 1]), [rows]) as Tensor1D,
        saved: [student, teacher, statistics],
        gradient: (gradient: Tensor1D, student: Tensor2D, teacher: Tensor2D, statistics: Tensor2D) => [
          programs.run(
            'distillation-student',
            student.shape,
            eachValue(student.size, { teacher, student, statistics, gradient }, { whole: { width } }),
          ),
        ],
      };
    })(student);
}
