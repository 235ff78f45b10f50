#include "training/sgd_fusion.hpp"

#include <algorithm>

#include "operations/fused_sgd.hpp"
#include "training/batch.hpp"

namespace nncore {

template <class T>
bool SgdFusion<T>::take(const PlannedStep& step) {
  const std::int64_t rows = at_work_.gradient(step).rows;
  if (!fused_sgd(step)->has_step(rows) || update_.descent(at_work_.segment(step)) == T{0}) return false;
  way_of(step) = UpdateWay::fused;
  return true;
}

template <class T>
void SgdFusion<T>::give_back(const PlannedStep& step) {
  fused_sgd(step)->store_gradient(call_of(step));
  way_of(step) = UpdateWay::look;
}

template <class T>
Ahead<T> SgdFusion<T>::look_ahead(const Batch& batch, const Batch& next) const {
  if (batch.count != 1 || next.count != 1) return {};
  const Graph& graph = at_work_.graph;
  for (const int index : bounded_steps_) {
    const PlannedStep& step = step_at(index);
    if (way_of(step) != UpdateWay::fused || !fused_sgd(step)->has_advance()) continue;
    const auto input =
        std::find(graph.inputs().begin(), graph.inputs().end(), graph.node(step.node).inputs[0]);
    if (input == graph.inputs().end()) continue;
    const Table& table = next.inputs[static_cast<std::size_t>(input - graph.inputs().begin())];
    if (const T* const sample = as_gathered<T>(table.row_range(row_of(next, 0), 1))) return {&step, sample};
  }
  return {};
}

template <class T>
void SgdFusion<T>::run(const Ahead<T>& ahead) const {
  for (auto index = bounded_steps_.rbegin(); index != bounded_steps_.rend(); ++index) {
    const PlannedStep& step = step_at(*index);
    if (way_of(step) != UpdateWay::fused || &step == ahead.step) continue;
    fused_sgd(step)->step(call_of(step), update_.descent(at_work_.segment(step)));
  }
}

template <class T>
void SgdFusion<T>::advance(const Ahead<T>& ahead) const {
  if (ahead.step == nullptr) return;
  const PlannedStep& step = *ahead.step;
  fused_sgd(step)->advance(call_of(step), update_.descent(at_work_.segment(step)), ahead.sample);
}

template <class T>
NodeCall<T> SgdFusion<T>::call_of(const PlannedStep& step) const {
  NodeCall<T> call = make_call(at_work_, step);
  call.grad_output = at_work_.gradient(step);
  return call;
}

template class SgdFusion<float>;
template class SgdFusion<double>;

}  // namespace nncore
