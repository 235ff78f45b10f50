# The kernels: one source, compiled once per instruction set with options that no other file gets.
#
# A kernel object may contain instructions that the processor lacks, so the linker must find nothing in it to
# share with the rest of the program: no exceptions, no run-time type information, no link-time optimization,
# and no visible symbol but the table. tests/test_build.py checks the object files.

include(CheckCXXSourceCompiles)

set(NNCORE_KERNEL_OBJECTS)

# Sets `out` to those of x86_64 and arm64 that are compiled for. The compiler is asked, since in cross and universal
# builds CMAKE_SYSTEM_PROCESSOR may be the host's.
function(nncore_find_architectures out)
  if(CMAKE_OSX_ARCHITECTURES)
    set(${out} ${CMAKE_OSX_ARCHITECTURES} PARENT_SCOPE)
    return()
  endif()
  set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
  set(found)
  foreach(pair x86_64=__x86_64__ arm64=__aarch64__)
    string(REPLACE "=" ";" pair ${pair})
    list(GET pair 0 architecture)
    list(GET pair 1 macro)
    check_cxx_source_compiles("#if !defined(${macro})\n#error\n#endif\nint main() {}" NNCORE_FOR_${architecture})
    if(NNCORE_FOR_${architecture})
      list(APPEND found ${architecture})
    endif()
  endforeach()
  set(${out} ${found} PARENT_SCOPE)
endfunction()
nncore_find_architectures(NNCORE_ARCHITECTURES)

# The kernels of one instruction set, with options for the architecture that has it; other parts of a universal
# build get an empty object.
function(nncore_add_kernels name architecture)
  if(NOT architecture IN_LIST NNCORE_ARCHITECTURES AND NOT architecture STREQUAL any)
    return()
  endif()
  set(target nncore_kernels_${name})
  add_library(${target} OBJECT cpp/src/kernels/${name}.cpp)
  nncore_compile_options(${target})
  set(of_set ${ARGN})
  if(NNCORE_ARCHITECTURES MATCHES ";")
    list(TRANSFORM of_set PREPEND "SHELL:-Xarch_${architecture} ")
  endif()
  nncore_spell_options(options -fno-exceptions -fno-rtti -fno-lto ${of_set})
  if(NNCORE_SANITIZE MATCHES "address" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # With ASAN_OPTIONS=detect_stack_use_after_return=1, older GCC releases (GCC bug 110027) misalign 64-byte vectors
    # on the stack, and the program crashes. No pointer to a kernel's stack outlives the call, so nothing is lost.
    list(APPEND options --param=asan-use-after-return=0)
  endif()
  target_compile_options(${target} PRIVATE ${options})
  target_include_directories(${target} PRIVATE cpp/include)
  set_target_properties(${target} PROPERTIES CXX_VISIBILITY_PRESET hidden INTERPROCEDURAL_OPTIMIZATION OFF)
  set(NNCORE_KERNEL_OBJECTS ${NNCORE_KERNEL_OBJECTS} $<TARGET_OBJECTS:${target}> PARENT_SCOPE)
endfunction()

nncore_add_kernels(baseline any)
nncore_add_kernels(avx2 x86_64 -mavx2 -mfma)
nncore_add_kernels(avx512 x86_64 -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mprefer-vector-width=512)
nncore_add_kernels(neon arm64)
