export * from './backend.ts';
export * from './plan.ts';
