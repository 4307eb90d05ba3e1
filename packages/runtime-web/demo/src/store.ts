// The page's state in one place: changed by patches, watched through selectors.

export interface Store<T extends object> {
  readonly state: T;
  update(patch: Partial<T>): void;
  /** Calls `act` now, and again whenever what `select` picks is another value. */
  watch<K>(select: (state: T) => K, act: (picked: K) => void): void;
}

export function createStore<T extends object>(initial: T): Store<T> {
  let state = initial;
  const watchers: (() => void)[] = [];
  return {
    get state() {
      return state;
    },
    update(patch) {
      state = { ...state, ...patch };
      for (const tell of watchers) tell();
    },
    watch(select, act) {
      let seen = select(state);
      watchers.push(() => {
        const picked = select(state);
        if (Object.is(picked, seen)) return;
        seen = picked;
        act(picked);
      });
      act(seen);
    },
  };
}
