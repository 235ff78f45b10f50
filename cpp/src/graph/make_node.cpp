#include <algorithm>
#include <stdexcept>
#include <utility>

#include "functions/join.hpp"
#include "operations/entry.hpp"

namespace nncore {
namespace {

const OperationEntry* find_operation(std::string_view kind) {
  for (const OperationEntries& entries : all_operations())
    for (const OperationEntry& entry : entries)
      if (kind == entry.kind) return &entry;
  return nullptr;
}

const Attribute* find_attribute(const Attributes& attributes, std::string_view name) {
  const auto found = attributes.find(name);
  return found != attributes.end() ? &found->second : nullptr;
}

[[noreturn]] void refuse(std::string_view name, const std::string& needed) {
  throw std::invalid_argument(std::string(name) + " must be " + needed);
}

}  // namespace

void check_attributes(const Attributes& attributes, std::span<const std::string_view> known) {
  for (const auto& [name, value] : attributes) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    std::string names;
    for (const std::string_view allowed : known) names += (names.empty() ? "" : ", ") + std::string(allowed);
    refuse("attributes", (names.empty() ? "empty" : "among " + names) + "; got " + name);
  }
}

std::int64_t size_attribute(const Attributes& attributes, std::string_view name) {
  const Attribute* const found = find_attribute(attributes, name);
  if (found == nullptr) refuse(name, "given");
  const auto* const size = std::get_if<std::int64_t>(found);
  if (size == nullptr) refuse(name, "an integer");
  if (*size < 1) refuse(name, join("at least 1; got ", *size));
  if (*size > kMostFeatures) refuse(name, join("at most ", kMostFeatures, "; got ", *size));
  return *size;
}

double number_attribute(const Attributes& attributes, std::string_view name, double fallback,
                        const char* choices) {
  const Attribute* const found = find_attribute(attributes, name);
  if (found == nullptr) return fallback;
  if (const auto* const integer = std::get_if<std::int64_t>(found)) return static_cast<double>(*integer);
  if (const auto* const flag = std::get_if<bool>(found)) return *flag ? 1.0 : 0.0;
  if (const auto* const number = std::get_if<double>(found)) return *number;
  if (choices == nullptr) refuse(name, "a number");
  const std::string& word = std::get<std::string>(*found);
  std::string_view rest = choices;
  for (double place = 0.0; !rest.empty(); ++place) {
    const std::size_t end = std::min(rest.find('|'), rest.size());
    if (word == rest.substr(0, end)) return place;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  refuse(name, std::string("one of ") + choices + "; got " + word);
}

bool flag_attribute(const Attributes& attributes, std::string_view name) {
  const Attribute* const found = find_attribute(attributes, name);
  if (found == nullptr) return false;
  const auto* const flag = std::get_if<bool>(found);
  if (flag == nullptr) refuse(name, "true or false");
  return *flag;
}

void refuse_segments(const NodeArguments& given, const char* needed) {
  refuse("segments", join(needed, "; got ", given.segments.size()));
}

void check_segment(std::span<const Segment> all, int index, const std::vector<std::int64_t>& shape,
                   bool by_rows) {
  const Segment& segment = all[static_cast<std::size_t>(index)];
  if (segment.shape == shape && (!by_rows || segment.layout == SegmentLayout::by_rows)) return;
  Segment needed;
  needed.shape = shape;
  throw invalid("segment '", segment.name, "' must have shape ", shape_text(needed),
                by_rows ? ", stored by rows" : "", "; got ", shape_text(segment));
}

std::int64_t check_width(std::span<const std::int64_t> in_features, std::int64_t features) {
  if (in_features[0] == features) return features;
  throw invalid("must read ", features, " features; got ", in_features[0]);
}

Node input_node(std::string name, std::int64_t features, bool is_integer) {
  Node node;
  node.name = std::move(name);
  node.features = features;
  node.is_integer = is_integer;
  return node;
}

Node make_node(std::string_view kind, std::string name, std::vector<int> inputs, std::vector<int> segments,
               std::vector<int> state, const Attributes& attributes) {
  const auto fail = [&](const std::string& what) {
    throw std::invalid_argument("node '" + name + "' (" + std::string(kind) + "): " + what);
  };
  const OperationEntry* const entry = find_operation(kind);
  if (entry == nullptr) {
    std::string kinds;
    for (const OperationEntries& entries : all_operations())
      for (const OperationEntry& known : entries)
        kinds += (kinds.empty() ? "" : ", ") + std::string(known.kind);
    fail("kind must be one of " + kinds);
  }
  const int count = static_cast<int>(inputs.size());
  if (count < entry->fewest_inputs || (entry->most_inputs >= 0 && count > entry->most_inputs))
    fail(join("the number of inputs must be ", entry->most_inputs == entry->fewest_inputs ? "" : "at least ",
              entry->fewest_inputs, "; got ", count));
  Node node;
  try {
    node.operation = entry->make({kind, segments, state, attributes});
  } catch (const std::invalid_argument& error) {
    fail(error.what());
  }
  node.name = std::move(name);
  node.inputs = std::move(inputs);
  return node;
}

}  // namespace nncore
