# The compiler: checks that there is one that can build this library, and sets the options of all targets.

include(CheckLanguage)
check_language(CXX)
if(NOT CMAKE_CXX_COMPILER)
  message(
    FATAL_ERROR
      "nncore needs a C++20 compiler, and none was found. On Debian or Ubuntu:\n"
      "    apt install g++ python3-dev python3-venv\n"
      "Elsewhere, install GCC 12 or Clang 15 or newer, and set CXX if its name is unusual.")
endif()
enable_language(CXX)

if(MSVC AND NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR "nncore's kernels use the vector extensions of GCC and Clang, which MSVC lacks. "
                      "Build with clang-cl: cmake -T ClangCL, or -DCMAKE_CXX_COMPILER=clang-cl.")
endif()
if((CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12)
   OR (CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 15))
  message(FATAL_ERROR "nncore needs GCC 12 or Clang 15 or newer; got ${CMAKE_CXX_COMPILER_ID} "
                      "${CMAKE_CXX_COMPILER_VERSION} (${CMAKE_CXX_COMPILER}).")
endif()

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
endif()

# Sets `out` to GCC options as the compiler spells them: clang-cl needs a prefix.
function(nncore_spell_options out)
  set(options ${ARGN})
  if(MSVC)
    list(TRANSFORM options PREPEND "/clang:")
  endif()
  set(${out} ${options} PARENT_SCOPE)
endfunction()

function(nncore_compile_options target)
  # If the compiler contracted products and sums to FMAs, results would depend on the processor.
  nncore_spell_options(exact -ffp-contract=off)
  # -O3: a host project without a build type gets optimized code too.
  # -Wno-psabi: vectors are never passed between functions compiled for different instruction sets.
  # -fno-tree-slp-vectorize: it reads two fields that were just written one by one as one vector, which waits
  # until both stores have reached the cache; a step of 1-16-16-1 took 4 % longer.
  # -Wno-restrict: GCC 12 warns about the standard library's own operator+ of strings.
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
