# For those who prefer node-gyp to scripts/build-native.mjs, in the package's folder:   npx node-gyp rebuild -C native
# node-gyp has flags for targets, not for files, so every instruction set is a static library. Not for MSVC.
{
  'variables': {
    'headers': ['<!@(node ../scripts/native-flags.mjs headers)'],
    'flags': ['<!@(node ../scripts/native-flags.mjs flags)'],
    'avx2': ['<!@(node ../scripts/native-flags.mjs machine kernels-avx2.cpp <(target_arch))'],
    'avx512': ['<!@(node ../scripts/native-flags.mjs machine kernels-avx512.cpp <(target_arch))'],
    'dotprod': ['<!@(node ../scripts/native-flags.mjs machine kernels-neon-dotprod.cpp <(target_arch))'],
  },
  'target_defaults': {
    'include_dirs': ['<@(headers)'],
    'cflags_cc!': ['-fno-exceptions', '-std=gnu++17', '-std=gnu++20'],
    'cflags_cc': ['<@(flags)'],
    'xcode_settings': {
      'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
      'CLANG_CXX_LANGUAGE_STANDARD': 'c++17',
      'OTHER_CPLUSPLUSFLAGS': ['<@(flags)'],
    },
  },
  'targets': [
    {
      'target_name': 'avx2',
      'type': 'static_library',
      'sources': ['kernels-avx2.cpp', 'kernels-training-avx2.cpp'],
      'cflags_cc': ['<@(avx2)'],
      'xcode_settings': {'OTHER_CPLUSPLUSFLAGS': ['<@(flags)', '<@(avx2)']},
    },
    {
      'target_name': 'avx512',
      'type': 'static_library',
      'sources': ['kernels-avx512.cpp', 'kernels-training-avx512.cpp'],
      'cflags_cc': ['<@(avx512)'],
      'xcode_settings': {'OTHER_CPLUSPLUSFLAGS': ['<@(flags)', '<@(avx512)']},
    },
    {
      'target_name': 'neon-dotprod',
      'type': 'static_library',
      'sources': ['kernels-neon-dotprod.cpp'],
      'cflags_cc': ['<@(dotprod)'],
      'xcode_settings': {'OTHER_CPLUSPLUSFLAGS': ['<@(flags)', '<@(dotprod)']},
    },
    {
      'target_name': 'duobit',
      'dependencies': ['avx2', 'avx512', 'neon-dotprod'],
      'sources': ['<!@(node ../scripts/native-flags.mjs sources)'],
      'defines': ['NAPI_VERSION=8', 'NAPI_CPP_EXCEPTIONS'],
    },
  ],
}
