#include "training/sgd_fusion.hpp"

#include <algorithm>

#include "operations/fused_sgd.hpp"
#include "training/batch.hpp"
#include "training/node_call.hpp"

namespace nncore {
namespace {

std::size_t at(int index) { return static_cast<std::size_t>(index); }

}  // namespace

template <class T>
const FusedSgd* SgdFusion<T>::fused_sgd(const PlannedStep& step) const {
  return graph_.node(step.node).operation->fused_sgd();
}

template <class T>
const Segment& SgdFusion<T>::segment(const PlannedStep& step) const {
  return parameters_.segments()[at(graph_.node(step.node).operation->segments()[0])];
}

template <class T>
UpdateWay& SgdFusion<T>::way_of(const PlannedStep& step) const {
  return arena_.ways[at(graph_.node(step.node).operation->segments()[0])];
}

template <class T>
bool SgdFusion<T>::take(const PlannedStep& step) {
  const std::int64_t rows = arena_.gradients[at(step.value)].rows;
  if (!fused_sgd(step)->has_step(rows) || update_.descent(segment(step)) == T{0}) return false;
  way_of(step) = UpdateWay::fused;
  return true;
}

template <class T>
bool SgdFusion<T>::has_taken(const PlannedStep& step) const {
  const auto index = static_cast<int>(&step - plan_.steps.data());
  return std::binary_search(bounded_steps_.begin(), bounded_steps_.end(), index) &&
         way_of(step) == UpdateWay::fused;
}

template <class T>
void SgdFusion<T>::give_back(const PlannedStep& step) {
  fused_sgd(step)->store_gradient(call_of(step));
  way_of(step) = UpdateWay::look;
}

template <class T>
Ahead<T> SgdFusion<T>::look_ahead(const Batch& batch, const Batch& next) const {
  if (batch.count != 1 || next.count != 1) return {};
  const std::vector<int>& inputs = graph_.inputs();
  for (const PlannedStep& step : plan_.steps) {
    if (!has_taken(step) || !fused_sgd(step)->has_advance()) continue;
    const auto input = std::find(inputs.begin(), inputs.end(), graph_.node(step.node).inputs[0]);
    if (input == inputs.end()) continue;
    const Table& table = next.inputs[static_cast<std::size_t>(input - inputs.begin())];
    if (const T* const sample = as_gathered<T>(table.row_range(row_of(next, 0), 1))) return {&step, sample};
  }
  return {};
}

template <class T>
void SgdFusion<T>::run(const Ahead<T>& ahead) const {
  for (auto index = bounded_steps_.rbegin(); index != bounded_steps_.rend(); ++index) {
    const PlannedStep& step = plan_.steps[at(*index)];
    if (way_of(step) != UpdateWay::fused || &step == ahead.step) continue;
    fused_sgd(step)->step(call_of(step), update_.descent(segment(step)));
  }
}

template <class T>
void SgdFusion<T>::advance(const Ahead<T>& ahead) const {
  if (ahead.step == nullptr) return;
  const PlannedStep& step = *ahead.step;
  fused_sgd(step)->advance(call_of(step), update_.descent(segment(step)), ahead.sample);
}

template <class T>
NodeCall<T> SgdFusion<T>::call_of(const PlannedStep& step) const {
  NodeCall<T> call = make_call(graph_, plan_, step, parameters_, arena_);
  call.grad_output = arena_.gradients[at(step.value)];
  return call;
}

template class SgdFusion<float>;
template class SgdFusion<double>;

}  // namespace nncore
