// Names of enumerators, from Python's strings and back.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <string_view>

#include "nncore/entries.hpp"

namespace nncore::bindings {

namespace py = pybind11;

/// ValueError for a name that is not among `known`, with the nearest one that is.
[[noreturn]] void refuse_name(const char* argument, std::string_view given, const py::tuple& known);

/// The names of a table of entries, in its order.
template <class Entry, std::size_t count>
py::tuple entry_names(const Entry (&table)[count]) {
  py::tuple all(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = table[i].name;
  return all;
}

/// The entry of that name.
template <class Entry, std::size_t count>
const Entry& entry_named(const Entry (&table)[count], const char* argument, std::string_view given) {
  if (const Entry* const entry = find_entry(table, given)) return *entry;
  refuse_name(argument, given, entry_names(table));
}

}  // namespace nncore::bindings
