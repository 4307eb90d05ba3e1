// Which pages the site has, in the order of its sidebar. A test compares this with the files of docs/.

export interface Group {
  readonly text: string;
  /** Paths in docs/. */
  readonly pages: readonly string[];
}

export const PAGES: readonly Group[] = [
  { text: 'Use', pages: ['index.md', 'web.md', 'publish.md', 'cli.md', 'errors.md'] },
  {
    text: 'How it works',
    pages: ['quantization.md', 'evaluation.md', 'numerics.md', 'architecture.md'],
  },
  { text: 'The format', pages: ['format.md', 'format/schema.md', 'format/dump.md'] },
  { text: 'Backends', pages: ['native.md', 'cuda.md', 'webgpu.md'] },
  {
    text: 'Benchmarks',
    pages: [
      'results/quality.md',
      'results/ablations.md',
      'results/distillation.md',
      'results/cpu-speed.md',
      'results/cpu-peers.md',
      'results/kernels.md',
      'results/shapes.md',
      'results/context.md',
      'results/linalg.md',
      'results/webgpu.md',
      'results/cuda-h200.md',
    ],
  },
];
