// Compiles a checked plan to steps.
import type { Operation } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import { attendSteps, cacheStep, MOST_HEAD_SIZE, ropeCacheStep } from './attention.ts';
import type { Context } from './context.ts';
import { fuseOperations, type Unit } from './fuse.ts';
import {
  decodeStep,
  elementStep,
  gramStep,
  normStep,
  quantizeStep,
  ropeStep,
  rotatedBytes,
  rotateStep,
  takeStep,
} from './operations.ts';
import { denseStep, embedStep, w11FloatStep, w11Step } from './products.ts';
import type { Step } from './steps.ts';

/** @throws DuobitError `PLAN_INVALID` when a product would overwrite its own input; `BACKEND_UNSUPPORTED` */
export function compileSteps(context: Context): Step[] {
  for (const operation of context.plan.operations) checkSupported(operation);
  const { joined } = context.weights;
  const units =
    context.tuning.fuse === false
      ? context.plan.operations.map((operation): Unit => ({ kind: 'single', operation }))
      : fuseOperations(context.plan, {
          canJoin: (weights) => joined.has(weights.join(' ')),
          canRotate: (width) => rotatedBytes(context, width) <= context.mostWorkgroupBytes,
        });
  return units.flatMap((unit) => compileUnit(context, unit));
}

function checkSupported(operation: Operation): void {
  if (
    (operation.op === 'w11MatMul' || operation.op === 'denseMatMul' || operation.op === 'logits') &&
    operation.input === operation.out
  )
    throw new DuobitError('PLAN_INVALID', `${operation.op} would overwrite its own input`, {
      where: operation.out,
      remedy: 'Build the plan with buildPlan',
    });
  if (operation.op === 'attention' && operation.heads.headSize > MOST_HEAD_SIZE)
    throw new DuobitError(
      'BACKEND_UNSUPPORTED',
      `heads of ${operation.heads.headSize}; the webgpu backend runs up to ${MOST_HEAD_SIZE}`,
      { where: operation.out, remedy: 'Use another backend' },
    );
}

function compileUnit(context: Context, unit: Unit): Step[] {
  switch (unit.kind) {
    case 'single':
      return compileOperation(context, unit.operation);
    case 'quantized':
      return [quantizeStep(context, unit)];
    case 'joined':
      return [w11Step(context, unit.products, null)];
    case 'added':
      return [w11Step(context, [unit.product], context.layout.places.get(unit.add.out)!)];
    case 'ropes':
      return [ropeStep(context, unit.first, unit.second)];
    case 'attended':
      return [ropeCacheStep(context, unit.attention), ...attendSteps(context, unit.attention)];
  }
}

function compileOperation(context: Context, operation: Operation): Step[] {
  switch (operation.op) {
    case 'embed':
      return [embedStep(context, operation)];
    case 'rmsNorm':
      return [normStep(context, operation)];
    case 'rotateInput':
      return [rotateStep(context, operation)];
    case 'takeColumns':
      return [takeStep(context, operation)];
    case 'quantizeActivations':
      return [quantizeStep(context, { source: null, rotate: null, quantize: operation })];
    case 'decodeActivations':
      return [decodeStep(context, operation)];
    case 'w11MatMul':
      return [
        context.plan.slots[operation.input]!.kind === 'a4'
          ? w11Step(context, [operation], null)
          : w11FloatStep(context, operation),
      ];
    case 'denseMatMul':
    case 'logits':
      return [denseStep(context, operation)];
    case 'rope':
      return [ropeStep(context, operation, null)];
    case 'attention':
      return [cacheStep(context, operation), ...attendSteps(context, operation)];
    case 'siluMul':
    case 'add':
      return [elementStep(context, operation)];
    case 'accumulateGram':
      return [gramStep(context, operation)];
  }
}
