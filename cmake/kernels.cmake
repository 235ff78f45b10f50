# The kernels: one source, compiled once per instruction set with options that no other file gets.
#
# A kernel object may contain instructions that the processor lacks, so the linker must find nothing in it to
# share with the rest of the program: no exceptions, no run-time type information, no link-time optimization,
# and no visible symbol but the table. tests/test_build.py checks the object files.

set(NNCORE_KERNEL_OBJECTS)
set(NNCORE_KERNEL_DEFINITIONS)

function(nncore_add_kernels name)
  set(target nncore_kernels_${name})
  add_library(${target} OBJECT cpp/src/kernels/${name}.cpp)
  nncore_compile_options(${target})
  nncore_spell_options(options -fno-exceptions -fno-rtti -fno-lto ${ARGN})
  if(NNCORE_SANITIZE MATCHES "address" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # With ASAN_OPTIONS=detect_stack_use_after_return=1, older GCC releases (GCC bug 110027) misalign 64-byte vectors
    # on the stack, and the program crashes. No pointer to a kernel's stack outlives the call, so nothing is lost.
    list(APPEND options --param=asan-use-after-return=0)
  endif()
  target_compile_options(${target} PRIVATE ${options})
  target_include_directories(${target} PRIVATE cpp/include)
  set_target_properties(${target} PROPERTIES CXX_VISIBILITY_PRESET hidden INTERPROCEDURAL_OPTIMIZATION OFF)
  string(TOUPPER "NNCORE_HAVE_${name}" have)
  target_compile_definitions(${target} PRIVATE ${have})
  set(NNCORE_KERNEL_OBJECTS ${NNCORE_KERNEL_OBJECTS} $<TARGET_OBJECTS:${target}> PARENT_SCOPE)
  set(NNCORE_KERNEL_DEFINITIONS ${NNCORE_KERNEL_DEFINITIONS} ${have} PARENT_SCOPE)
endfunction()

nncore_add_kernels(baseline)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
  nncore_add_kernels(avx2 -mavx2 -mfma)
  nncore_add_kernels(avx512 -mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mprefer-vector-width=512)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  nncore_add_kernels(neon)
endif()
