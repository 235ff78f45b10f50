// Entries: what the tables of activations, losses, optimizers and initializers have in common. Each kind is
// one entry of its table: a name, parameters, traits and formulas. The rest of the library, the Python
// classes and the documentation are derived from these tables.
#pragma once

#include <cstddef>
#include <iterator>
#include <limits>
#include <string_view>

namespace nncore {

/// An interval of finite numbers: the valid values of a parameter.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool has_low = true;                   ///< whether the interval includes `low`
  bool has_high = true;                  ///< whether the interval includes `high`
  const char* text = "a finite number";  ///< follows "must be" in error messages

  /// Whether `value` is finite and within the interval.
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
/// A flag, or a choice between two words.
inline constexpr Range kChoice{.low = 0.0, .high = 1.0, .text = "0 or 1"};

/// One parameter of an entry, stored in a field of Owner (Activation, Loss, Optimizer or Initializer).
template <class Owner, class Field = double>
struct Parameter {
  const char* name = nullptr;      ///< null marks the end of the list
  Field Owner::* field = nullptr;  ///< where Owner stores it
  double initial = 0.0;            ///< the default
  Range range{};                   ///< the valid values
  const char* meaning = "";        ///< for documentation
  /// The words that the values 0, 1, ... stand for, such as "none|tanh"; "False|True" is a flag. Null for a
  /// number.
  const char* choices = nullptr;
  /// Whether the parameter may also be a vector with one number for each output.
  bool is_vector = false;
};

/// Whether a table is in the order of its enumeration, as entry_of() requires.
template <class Entry, std::size_t count>
constexpr bool is_in_order(const Entry (&table)[count]) {
  for (std::size_t i = 0; i < count; ++i)
    if (static_cast<std::size_t>(table[i].kind) != i) return false;
  return true;
}

/// The number of parameters of an entry.
template <class Entry>
constexpr std::size_t parameter_count(const Entry& entry) {
  std::size_t count = 0;
  while (count < std::size(entry.parameters) && entry.parameters[count].name != nullptr) ++count;
  return count;
}

/// Finds an entry by its name or, in tables with aliases, its alias. Returns null if there is none.
template <class Entry, std::size_t count>
constexpr const Entry* find_entry(const Entry (&table)[count], std::string_view name) {
  for (const Entry& entry : table) {
    if (name == entry.name) return &entry;
    if constexpr (requires { entry.alias; })
      if (entry.alias != nullptr && name == entry.alias) return &entry;
  }
  return nullptr;
}

/// Throws std::invalid_argument, naming the parameter, if the value is out of range.
void check_parameter(const char* name, const Range& range, double value);

/// Calls check_parameter() for each parameter of an entry.
template <class Owner, class Entry>
void check_parameters(const Owner& owner, const Entry& entry) {
  for (const auto& parameter : entry.parameters)
    if (parameter.name != nullptr) check_parameter(parameter.name, parameter.range, owner.*parameter.field);
}

}  // namespace nncore
