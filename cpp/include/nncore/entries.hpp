// Entries: what the tables of activations, losses, optimizers and initializers have in common. Each kind of
// them is one entry of its table: a name, parameters, traits and formulas. The rest of the library, Python's
// classes and the documentation follow from the tables.
#pragma once

#include <cstddef>
#include <iterator>
#include <limits>
#include <string_view>

namespace nncore {

/// The finite numbers that a parameter may be.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool has_low = true;   ///< whether `low` itself is in it
  bool has_high = true;  ///< whether `high` itself is in it
  const char* text = "a finite number";

  constexpr bool contains(double value) const {
    const bool above = has_low ? value >= low : value > low, below = has_high ? value <= high : value < high;
    constexpr double kLargest = std::numeric_limits<double>::max();
    return above && below && value >= -kLargest && value <= kLargest;
  }
};
inline constexpr Range kAnyNumber{};
inline constexpr Range kNotNegative{.low = 0.0, .text = "a finite number of at least 0"};
inline constexpr Range kPositive{.low = 0.0, .has_low = false, .text = "a finite number greater than 0"};
inline constexpr Range kFraction{
    .low = 0.0, .high = 1.0, .has_high = false, .text = "a number of at least 0 and less than 1"};
/// Of two words, or a flag.
inline constexpr Range kChoice{.low = 0.0, .high = 1.0, .text = "0 or 1"};

/// One parameter of an entry: a field of the Owner that kind and parameters travel in (Activation, ...).
template <class Owner, class Field = double>
struct Parameter {
  const char* name = nullptr;  ///< null: there are no more
  Field Owner::* field = nullptr;
  double initial = 0.0;  ///< what it is where nobody sets it
  Range range{};
  const char* meaning = "";
  /// Of a parameter that is one of several words, counted from 0: "none|tanh". "False|True": a flag.
  const char* choices = nullptr;
  /// Whether it may be a number for each output instead of one for all.
  bool is_vector = false;
};

/// The entry of a kind. Tables are in the order of their enumerations (static_assert(is_in_order(...))).
template <class Entry, std::size_t count>
constexpr bool is_in_order(const Entry (&table)[count]) {
  for (std::size_t i = 0; i < count; ++i)
    if (static_cast<std::size_t>(table[i].kind) != i) return false;
  return true;
}

/// How many parameters an entry has.
template <class Entry>
constexpr std::size_t parameter_count(const Entry& entry) {
  std::size_t count = 0;
  while (count < std::size(entry.parameters) && entry.parameters[count].name != nullptr) ++count;
  return count;
}

/// The entry of that name, or of that alias where entries have one; null where there is none.
template <class Entry, std::size_t count>
constexpr const Entry* find_entry(const Entry (&table)[count], std::string_view name) {
  for (const Entry& entry : table) {
    if (name == entry.name) return &entry;
    if constexpr (requires { entry.alias; })
      if (entry.alias != nullptr && name == entry.alias) return &entry;
  }
  return nullptr;
}

/// Throws std::invalid_argument, naming the parameter, for a value outside its range.
void check_parameter(const char* name, const Range& range, double value);

/// check_parameter of all parameters of an entry.
template <class Owner, class Entry>
void check_parameters(const Owner& owner, const Entry& entry) {
  for (const auto& parameter : entry.parameters)
    if (parameter.name != nullptr) check_parameter(parameter.name, parameter.range, owner.*parameter.field);
}

}  // namespace nncore
