// All optimizers in all their forms, for tests that loop over the table.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "nncore/optimizers.hpp"

namespace test_optimizers {

/// A name for messages: "rmsprop centered momentum".
inline std::string name_of(const nncore::Optimizer& optimizer) {
  std::string name = entry_of(optimizer.kind).name;
  for (const auto& parameter : entry_of(optimizer.kind).parameters)
    if (parameter.name != nullptr && parameter.initial == 0.0 && optimizer.*parameter.field != 0.0)
      name += std::string(" ") + parameter.name;
  return name;
}

/// With and without each flag, momentum and decay of the entry, in every combination that is allowed.
inline std::vector<nncore::Optimizer> all() {
  std::vector<nncore::Optimizer> found;
  for (const nncore::OptimizerEntry& entry : nncore::kOptimizers) {
    std::vector<nncore::Optimizer> forms{nncore::Optimizer(entry.kind)};
    for (const auto& parameter : entry.parameters) {
      if (parameter.name == nullptr || parameter.initial != 0.0) continue;
      for (std::size_t i = 0, count = forms.size(); i < count; ++i) {
        nncore::Optimizer changed = forms[i];
        changed.*parameter.field = parameter.choices != nullptr ? 1.0 : 0.125;
        forms.push_back(changed);
      }
    }
    for (const nncore::Optimizer& form : forms)
      if (entry.conflict == nullptr || entry.conflict(form) == nullptr) found.push_back(form);
  }
  return found;
}

/// The values of all slots.
template <class T>
std::vector<T> slots_of(const nncore::OptimizerState<T>& state) {
  std::vector<T> all;
  for (const std::string& name : state.slot_names())
    all.insert(all.end(), state.slot(name), state.slot(name) + state.parameter_count());
  return all;
}

}  // namespace test_optimizers
