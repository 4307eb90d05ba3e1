// The platforms that get a prebuilt package of the addon. src/native/addon.ts looks for the same names.

/**
 * `zig`: the target for its compiler. glibc 2.28 is what Node 20 itself asks for; macOS 11 likewise.
 * `arch`, `platform`: Node's names.
 */
export const TARGETS = [
  { name: 'linux-x64', zig: 'x86_64-linux-gnu.2.28', platform: 'linux', arch: 'x64', libc: 'glibc' },
  { name: 'linux-arm64', zig: 'aarch64-linux-gnu.2.28', platform: 'linux', arch: 'arm64', libc: 'glibc' },
  { name: 'linux-x64-musl', zig: 'x86_64-linux-musl', platform: 'linux', arch: 'x64', libc: 'musl' },
  { name: 'linux-arm64-musl', zig: 'aarch64-linux-musl', platform: 'linux', arch: 'arm64', libc: 'musl' },
  { name: 'darwin-x64', zig: 'x86_64-macos.11.0', platform: 'darwin', arch: 'x64' },
  { name: 'darwin-arm64', zig: 'aarch64-macos.11.0', platform: 'darwin', arch: 'arm64' },
  { name: 'win32-x64', zig: 'x86_64-windows-gnu', platform: 'win32', arch: 'x64' },
];

export const packageName = (target) => `@duobit/native-${target.name}`;
