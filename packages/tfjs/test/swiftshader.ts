// WebGPU for tests on machines without a GPU: Dawn on the SwiftShader that Debian's Chromium brings. Where the caller has named a
// Vulkan driver, that is used.
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { type Engine, openEngine } from '../src/engine.ts';

const CHROMIUM = '/usr/lib/chromium';
/** dlopen's RTLD_NODELETE, which Node does not name: the library stays when Node finds that it is no addon of its own. */
const KEEP = 0x1000;

/** Makes SwiftShader findable, where it is and no other driver is named. Call before Dawn is loaded. */
function findSwiftShader(): void {
  const driver = `${CHROMIUM}/vk_swiftshader_icd.json`;
  if (process.env.VK_ICD_FILENAMES || process.env.VK_DRIVER_FILES || !existsSync(driver)) return;
  process.env.VK_ICD_FILENAMES = driver;
  // Dawn opens libvulkan.so.1 by name, and finds the one that is loaded already where the system has none.
  try {
    process.dlopen(
      { exports: {} },
      `${CHROMIUM}/libvulkan.so.1`,
      constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL | KEEP,
    );
  } catch {
    // It is a library and no addon: Node says so after it has loaded it.
  }
}

/** The engine, or why there is none. In CI, which installs SwiftShader, it has to be there. */
export async function openWebGpu(): Promise<Engine | string> {
  findSwiftShader();
  try {
    return await openEngine({ device: 'webgpu' });
  } catch (error) {
    if (process.env.CI) throw error;
    return (error as Error).message.split('\n', 1)[0]!;
  }
}
