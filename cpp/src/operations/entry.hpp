// What each file of this folder defines: the kinds of nodes that it makes.
//
// Each file x.cpp here defines nncore::x_operations. The build lists the folder (cmake/operations.cmake), so
// that a new operation is one new file.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nncore/graph.hpp"
#include "nncore/operation.hpp"

namespace nncore {

/// What make_node passes to the maker of an operation.
struct NodeArguments {
  std::string_view kind;
  std::span<const int> segments, state;
  const Attributes& attributes;
};

inline constexpr int kAnyNumberOfInputs = -1;

struct OperationEntry {
  const char* kind = nullptr;
  std::shared_ptr<const Operation> (*make)(const NodeArguments&) = nullptr;
  int fewest_inputs = 1;
  int most_inputs = 1;
};
using OperationEntries = std::span<const OperationEntry>;

/// The entries of all files.
std::span<const OperationEntries> all_operations();

// These throw std::invalid_argument for an attribute that is missing, has the wrong type, or is not `known`.
void check_attributes(const Attributes& attributes, std::span<const std::string_view> known);
inline void check_attributes(const Attributes& attributes, std::initializer_list<std::string_view> known) {
  check_attributes(attributes, std::span(known.begin(), known.size()));
}
/// An integer of at least 1.
std::int64_t size_attribute(const Attributes& attributes, std::string_view name);
/// A number; a flag counts as 0 or 1, a word as its position among `choices`.
double number_attribute(const Attributes& attributes, std::string_view name, double fallback,
                        const char* choices = nullptr);
bool flag_attribute(const Attributes& attributes, std::string_view name);

/// Throws std::invalid_argument: the number of segments must be `needed`.
[[noreturn]] void refuse_segments(const NodeArguments& given, const char* needed);

/// Throws std::invalid_argument unless segment `index` has this shape and, if `by_rows`, is stored by rows.
void check_segment(std::span<const Segment> all, int index, const std::vector<std::int64_t>& shape,
                   bool by_rows = false);
/// Returns the width of the only input; throws std::invalid_argument unless it is `features`.
std::int64_t check_width(std::span<const std::int64_t> in_features, std::int64_t features);

}  // namespace nncore
