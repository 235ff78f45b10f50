# The Python module nncore._core.

find_package(Python 3.11 COMPONENTS Interpreter Development.Module)
if(NOT Python_Development.Module_FOUND)
  message(
    FATAL_ERROR
      "The Python module needs Python.h, which was not found for ${Python_EXECUTABLE}. On Debian or Ubuntu:\n"
      "    apt install g++ python3-dev python3-venv")
endif()
set(PYBIND11_FINDPYTHON ON)
find_package(pybind11 3 CONFIG REQUIRED)

# NO_EXTRAS: otherwise pybind11 enables link-time optimization.
pybind11_add_module(
  _core
  MODULE
  NO_EXTRAS
  cpp/bindings/arrays.cpp
  cpp/bindings/calls.cpp
  cpp/bindings/entries.cpp
  cpp/bindings/gil.cpp
  cpp/bindings/module.cpp
  cpp/bindings/network_call.cpp
  cpp/bindings/register_functional.cpp
  cpp/bindings/register_losses.cpp
  cpp/bindings/register_network.cpp
  cpp/bindings/register_optimizers.cpp
  cpp/bindings/register_parameters.cpp
  cpp/bindings/register_runtime.cpp)
nncore_compile_options(_core)
target_include_directories(_core PRIVATE cpp/src)
target_link_libraries(_core PRIVATE nncore::nncore)
install(TARGETS _core DESTINATION nncore COMPONENT python)

# pip shows it with -v.
set(all_sources)
foreach(target IN ITEMS nncore _core)
  get_target_property(sources ${target} SOURCES)
  list(APPEND all_sources ${sources})
endforeach()
list(FILTER all_sources INCLUDE REGEX "\\.cpp$")
list(APPEND all_sources ${NNCORE_KERNEL_OBJECTS})
list(LENGTH all_sources files)
message(STATUS "nncore: ${files} files to compile; on two cores that takes about 3 minutes")
