// Names of enumerators, from Python's strings and back.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <string>
#include <string_view>

#include "nncore/activations.hpp"
#include "nncore/entries.hpp"
#include "nncore/losses.hpp"
#include "nncore/parameters.hpp"

namespace nncore::bindings {

namespace py = pybind11;

template <class Enum, int last>
constexpr auto enumerators() {
  std::array<Enum, last + 1> all{};
  for (int i = 0; i <= last; ++i) all[static_cast<std::size_t>(i)] = static_cast<Enum>(i);
  return all;
}

inline constexpr auto kActivations = enumerators<Activation, kActivationCount - 1>();
inline constexpr auto kLosses = enumerators<Loss, kLossCount - 1>();
inline constexpr auto kInitializers =
    enumerators<InitializerKind, static_cast<int>(InitializerKind::he_normal)>();

/// The names of a table, in its order.
template <class Table>
py::tuple names(const Table& table) {
  py::tuple all(table.size());
  for (std::size_t i = 0; i < table.size(); ++i) all[i] = name(table[i]);
  return all;
}

/// ValueError for a name that is not among `known`, with the nearest one that is.
[[noreturn]] void refuse_name(const char* argument, std::string_view given, const py::tuple& known);

/// The enumerator of that name.
template <class Table>
auto find_name(const Table& table, const char* argument, std::string_view given) {
  for (const auto value : table)
    if (given == name(value)) return value;
  refuse_name(argument, given, names(table));
}

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
