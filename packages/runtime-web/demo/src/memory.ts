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

const browser = performance as unknown as MemoryPerformance;

/** The page's heap, which is known at once; null where the browser does not tell. */
export function readHeap(): ScriptMemory | null {
  return browser.memory ? { bytes: browser.memory.usedJSHeapSize, of: 'page' } : null;
}

/** May take half a minute, as the browser measures when it next collects garbage; null where it does not. */
export async function measureScripts(): Promise<ScriptMemory | null> {
  if (!globalThis.crossOriginIsolated || !browser.measureUserAgentSpecificMemory) return null;
  try {
    const { bytes } = await browser.measureUserAgentSpecificMemory();
    return { bytes, of: 'page and workers' };
  } catch {
    // Refused where the page is in a frame: the heap is known all the same.
    return null;
  }
}
