# The compiler: that there is one, that it can build this library, and the options that everything shares.

include(CheckLanguage)
check_language(CXX)
if(NOT CMAKE_CXX_COMPILER)
  message(
    FATAL_ERROR
      "nncore needs a C++20 compiler and found none. On Debian or Ubuntu:\n"
      "    apt install g++ python3-dev python3-venv\n"
      "Elsewhere: GCC 12, Clang 15 or newer; set CXX if it has an unusual name.")
endif()
enable_language(CXX)

if(MSVC AND NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "nncore's kernels use GCC/Clang vector extensions, which Microsoft's compiler lacks. "
                      "Build with clang-cl: cmake -T ClangCL, or -DCMAKE_CXX_COMPILER=clang-cl.")
endif()
if((CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12)
   OR (CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 15))
  message(FATAL_ERROR "nncore needs GCC 12 or Clang 15, or newer; this is ${CMAKE_CXX_COMPILER_ID} "
                      "${CMAKE_CXX_COMPILER_VERSION} (${CMAKE_CXX_COMPILER}).")
endif()

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
endif()

# Sets `out` to options in the compiler's own spelling: clang-cl takes GCC's behind a prefix.
function(nncore_spell_options out)
  set(options ${ARGN})
  if(MSVC)
    list(TRANSFORM options PREPEND "/clang:")
  endif()
  set(${out} ${options} PARENT_SCOPE)
endfunction()

function(nncore_compile_options target)
  # A compiler that fuses a product and a sum by itself would make results depend on the processor.
  nncore_spell_options(exact -ffp-contract=off)
  # A host project without a build type gets optimised code all the same. -Wpsabi warns of passing
  # vectors between functions compiled for different sets, which never happens here.
  # Two fields that were just written one by one, read as one vector, wait until they have reached the cache: a
  # step of 1-16-16-1 took 4 % longer.
  # GCC 12's -Wrestrict warns of the standard library's own operator+ of strings.
  set(old_gcc $<AND:$<CXX_COMPILER_ID:GNU>,$<VERSION_LESS:$<CXX_COMPILER_VERSION>,13>>)
  nncore_spell_options(private -Wall -Wextra -Wno-psabi -fno-tree-slp-vectorize $<$<CONFIG:>:-O3>
                       $<${old_gcc}:-Wno-restrict>)
  target_compile_options(${target} PUBLIC ${exact} PRIVATE ${private})
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON
                                                CXX_SCAN_FOR_MODULES OFF)
  if(NOT BUILD_SHARED_LIBS)
    set_target_properties(${target} PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  endif()
  if(NNCORE_SANITIZE)
    list(JOIN NNCORE_SANITIZE "," sanitizers)
    target_compile_options(${target} PUBLIC -fsanitize=${sanitizers} -fno-sanitize-recover=all
                                            -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=${sanitizers})
  endif()
endfunction()
