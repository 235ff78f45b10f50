// Activations, one kind of node for each entry of kActivations.
#include "nncore/activations.hpp"

#include <array>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <variant>

#include "operations/entry.hpp"

namespace nncore {
namespace {

class ActivationOperation final : public OperationOf<ActivationOperation> {
 public:
  explicit ActivationOperation(const Activation& activation) : activation_(activation) {}

  const char* kind() const override { return entry_of(activation_.kind).name; }
  std::optional<Activation> activation() const override { return activation_; }
  std::int64_t out_features(std::span<const std::int64_t> in_features) const override {
    if (!entry_of(activation_.kind).is_elementwise && in_features[0] == 1)
      throw std::invalid_argument(
          std::string(entry_of(activation_.kind).name) +
          " must have two or more features, because the softmax of one is always 1; got 1. "
          "For two classes with one output, use sigmoid");
    return in_features[0];
  }

  template <class T>
  void compute_forward(const NodeCall<T>& call) const {
    activation_forward<T>(activation_, call.inputs[0], call.output);
  }
  template <class T>
  void compute_backward(const NodeCall<T>& call) const {
    if (call.grad_inputs[0].data == nullptr) return;
    activation_backward<T>(activation_, call.grad_output,
                           reads_input(activation_) ? call.inputs[0] : Matrix<const T>(call.output),
                           call.grad_inputs[0], call.accumulate_input[0] != 0);
  }

 private:
  Activation activation_;
};

std::shared_ptr<const Operation> make_activation(const NodeArguments& given) {
  const ActivationEntry& entry = *find_entry(kActivations, given.kind);
  Activation activation(entry.kind);
  std::vector<std::string_view> known{"order"};
  for (const Parameter<Activation>& parameter : entry.parameters) {
    if (parameter.name == nullptr) continue;
    known.emplace_back(parameter.name);
    activation.*parameter.field =
        number_attribute(given.attributes, parameter.name, parameter.initial, parameter.choices);
  }
  check_attributes(given.attributes, known);
  activation.order = static_cast<int>(number_attribute(given.attributes, "order", 0.0));
  validate(activation);
  return std::make_shared<ActivationOperation>(activation);
}

constexpr auto kEntries = [] {
  std::array<OperationEntry, kActivationCount> entries{};
  for (std::size_t i = 0; i < entries.size(); ++i) entries[i] = {kActivations[i].name, make_activation, 1, 1};
  return entries;
}();

}  // namespace

extern const OperationEntries activation_operations{kEntries};

}  // namespace nncore
