# Each file x.cpp of cpp/src/operations defines nncore::x_operations, the kinds of nodes that it makes. The table of
# all of them is written here, so that a new operation is one new file.

file(GLOB NNCORE_OPERATION_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/cpp/src/operations/*.cpp)
set(declarations "")
set(names "")
foreach(source IN LISTS NNCORE_OPERATION_SOURCES)
  cmake_path(GET source STEM name)
  string(APPEND declarations "extern const OperationEntries ${name}_operations;\n")
  string(APPEND names "${name}_operations, ")
endforeach()
file(
  CONFIGURE
  OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/operations.cpp
  CONTENT
    "// Written by cmake/operations.cmake.
#include \"operations/entry.hpp\"

namespace nncore {
@declarations@
std::span<const OperationEntries> all_operations() {
  static const OperationEntries all[] = {@names@};
  return all;
}
}  // namespace nncore
"
  @ONLY)
list(APPEND NNCORE_OPERATION_SOURCES ${CMAKE_CURRENT_BINARY_DIR}/operations.cpp)
