// How much memory JavaScript holds, where the browser tells: page and workers together where it is cross-origin isolated, else the
// page's own heap, which only Chromium knows.

interface MemoryPerformance {
  measureUserAgentSpecificMemory?(): Promise<{ readonly bytes: number }>;
  readonly memory?: { readonly usedJSHeapSize: number };
}

export interface ScriptMemory {
  readonly bytes: number;
  readonly of: 'page and workers' | 'page';
}

/** Null where the browser does not tell. May take seconds: the browser measures when it next collects garbage. */
export async function measureScriptMemory(): Promise<ScriptMemory | null> {
  const { measureUserAgentSpecificMemory, memory } = performance as unknown as MemoryPerformance;
  if (globalThis.crossOriginIsolated && measureUserAgentSpecificMemory) {
    try {
      const { bytes } = await measureUserAgentSpecificMemory.call(performance);
      return { bytes, of: 'page and workers' };
    } catch {
      // Refused where the page is in a frame: the heap is known all the same.
    }
  }
  return memory ? { bytes: memory.usedJSHeapSize, of: 'page' } : null;
}
