// Public face of @duobit/grammar.
export { createGrammars, type GrammarOptions } from './grammars.ts';
