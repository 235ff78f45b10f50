// The golden hashes of tests/test_bits.py, computed from C++: the same networks, data and 50 steps of Adam. A
// platform without Python, or an emulated one, shows with this program that it computes the same bits.
#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "check.hpp"
#include "nncore/network.hpp"
#include "nncore/random.hpp"
#include "nncore/runtime.hpp"
#include "nodes.hpp"

using namespace nncore;

namespace {

/// The first 16 hexadecimal digits of SHA-256 (FIPS 180-4). Its constants are the fractions of roots of
/// primes.
std::string sha256(const unsigned char* data, std::size_t size) {
  using Word = std::uint32_t;
  constexpr std::array<Word, 64> kRoots = {
      0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
      0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
      0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
      0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
      0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
      0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
      0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
      0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
  std::array<Word, 8> state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::vector<unsigned char> text(data, data + size);
  text.push_back(0x80);
  while (text.size() % 64 != 56) text.push_back(0);
  for (int shift = 56; shift >= 0; shift -= 8)
    text.push_back(static_cast<unsigned char>(std::uint64_t{size} * 8 >> shift));
  for (std::size_t block = 0; block < text.size(); block += 64) {
    std::array<Word, 64> w{};
    for (std::size_t i = 0; i < 64; ++i) w[i / 4] = i / 4 < 16 ? w[i / 4] << 8 | text[block + i] : 0;
    for (std::size_t i = 16; i < 64; ++i) {
      const Word a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
             (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    auto [a, b, c, d, e, f, g, h] = state;
    for (std::size_t i = 0; i < 64; ++i) {
      const Word first = h + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g)) +
                         kRoots[i] + w[i];
      const Word second =
          (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = std::exchange(g, std::exchange(f, std::exchange(e, d + first)));
      d = std::exchange(c, std::exchange(b, std::exchange(a, first + second)));
    }
    const std::array<Word, 8> added = {a, b, c, d, e, f, g, h};
    for (std::size_t i = 0; i < 8; ++i) state[i] += added[i];
  }
  char digits[17];
  std::snprintf(digits, sizeof digits, "%08x%08x", static_cast<unsigned>(state[0]),
                static_cast<unsigned>(state[1]));
  return digits;
}

/// A graph and its segments, in the order in which Python makes them.
struct Net {
  std::vector<Segment> segments;
  std::vector<Node> nodes;
  std::vector<int> outputs;
  std::vector<Loss> losses;
  std::vector<std::int64_t> target_columns;  ///< empty: class labels
  std::int64_t rows = 0, columns = 0;
  std::uint64_t seed = 0, x_stream = 0, y_stream = 0;

  std::string name() const { return std::to_string(nodes.size()); }
  int last() const { return static_cast<int>(nodes.size()) - 1; }
  int add(Node node) { return nodes.push_back(std::move(node)), last(); }
  int input(std::int64_t features) {
    columns = features;
    return add(input_node("x", features));
  }
  /// A layer with segments of its own, or those from `weight` on.
  int dense(int from, std::int64_t in, std::int64_t out, int weight = -1) {
    if (weight < 0) {
      weight = static_cast<int>(segments.size());
      segments.push_back(weight_segment(name() + ".weight", out, in));
      segments.push_back(bias_segment(name() + ".bias", out));
    }
    return add(dense_node(name(), from, weight, weight + 1, in, out));
  }
  int apply(const char* kind, std::vector<int> from, Attributes attributes = {}) {
    return add(make_node(kind, name(), std::move(from), {}, {}, attributes));
  }
};

Net tanh_net() {
  Net net;
  net.input(8);
  for (const std::int64_t in : {8, 64}) net.apply("tanh", {net.dense(net.last(), in, 64)});
  net.outputs = {net.dense(net.last(), 64, 1)};
  net.losses = {LossKind::mean_squared_error};
  net.target_columns = {1};
  net.rows = 64, net.seed = 1, net.x_stream = 0, net.y_stream = 1;
  return net;
}

Net classifier() {
  Net net;
  net.apply("relu", {net.dense(net.input(784), 784, 128)});
  net.outputs = {net.apply("softmax", {net.dense(net.last(), 128, 10)})};
  net.losses = {LossKind::cross_entropy};
  net.rows = 64, net.seed = 2, net.x_stream = 2;
  return net;
}

Net shared_layers() {
  Net net;
  const int x = net.input(33);
  const int first = net.apply("tanh", {net.dense(x, 33, 33)});
  const int second = net.apply("sigmoid", {net.dense(first, 33, 33, 0)});
  const int product = net.apply("multiply", {first, second});
  const int sum = net.apply("add", {second, x});
  net.outputs = {net.dense(net.apply("concatenate", {product, sum}), 66, 3)};
  net.losses = {LossKind::half_squared_error};
  net.target_columns = {3};
  net.rows = 600, net.seed = 3, net.x_stream = 4, net.y_stream = 5;
  return net;
}

Net robust_losses() {
  Net net;
  const int hidden = net.apply("tanh", {net.dense(net.input(21), 21, 40)});
  for (const std::int64_t width : {3, 19, 6}) net.outputs.push_back(net.dense(hidden, 40, width));
  net.losses = {LossKind::huber, LossKind::mean_absolute_error, LossKind::gaussian_nll};
  net.losses[0].delta.each = {0.2, 0.7, 1.5};
  net.target_columns = {3, 19, 3};
  net.rows = 64, net.seed = 4, net.x_stream = 6, net.y_stream = 7;
  return net;
}

Net activations_with_parameters() {
  Net net;
  const std::pair<const char*, Attributes> kinds[] = {{"leaky_relu", {{"negative_slope", 0.2}}},
                                                      {"gelu", {}},
                                                      {"gelu", {{"approximate", std::string("tanh")}}},
                                                      {"silu", {}}};
  const int x = net.input(21);
  std::vector<int> hidden;
  for (const auto& [kind, attributes] : kinds)
    hidden.push_back(net.apply(kind, {net.dense(x, 21, 37)}, attributes));
  const int left = net.apply("silu", {net.apply("add", {hidden[0], hidden[1]})});
  const int right = net.apply("gelu", {net.apply("add", {hidden[2], hidden[3]})});
  net.apply("add", {left, right});
  for (const auto& [kind, attributes] : kinds) net.apply(kind, {net.dense(net.last(), 37, 37)}, attributes);
  net.outputs = {net.dense(net.last(), 37, 3)};
  net.losses = {LossKind::half_squared_error};
  net.target_columns = {3};
  net.rows = 600, net.seed = 5, net.x_stream = 10, net.y_stream = 11;
  return net;
}

template <class T>
std::vector<T> uniform(std::int64_t count, std::uint64_t stream) {
  std::vector<T> numbers(static_cast<std::size_t>(count));
  fill_uniform<T>({.seed = 7, .index = stream}, -1.0, 1.0, numbers.data(), count);
  return numbers;
}

/// The hash of all parameters after 50 steps.
template <class T>
std::string train(const Net& net) {
  const auto parameters = std::make_shared<Parameters<T>>(net.segments);
  parameters->initialize(net.seed);
  const Network<T> network(std::make_shared<const Graph>(net.nodes, net.outputs), parameters);
  std::vector<LossTerm> terms;
  for (const Loss& loss : net.losses) terms.push_back({loss, static_cast<int>(terms.size())});
  const auto objective = network.plan(terms);

  const std::vector<T> x = uniform<T>(net.rows * net.columns, net.x_stream);
  const Table inputs[] = {table(x.data(), net.rows, net.columns)};
  std::vector<std::vector<T>> y;
  std::vector<std::int64_t> labels;
  std::vector<Table> targets;
  for (const std::int64_t width : net.target_columns)
    y.push_back(uniform<T>(net.rows * width, net.y_stream + y.size()));
  for (std::size_t i = 0; i < y.size(); ++i)
    targets.push_back(table(y[i].data(), net.rows, net.target_columns[i]));
  for (std::int64_t row = 0; row < net.rows; ++row) labels.push_back(row * 7 % 10);
  if (targets.empty()) targets.push_back(table(labels.data(), net.rows, 1));
  const Batch batch{.inputs = inputs, .targets = targets, .count = net.rows};

  Optimizer adam(OptimizerKind::adam);
  adam.learning_rate = 1e-3;
  OptimizerState<T> state(adam, parameters->count());
  Workspace<T> workspace;
  for (int step = 0; step < 50; ++step) network.train_step(*objective, batch, adam, state, workspace);
  return sha256(reinterpret_cast<const unsigned char*>(std::as_const(*parameters).values()),
                static_cast<std::size_t>(parameters->count()) * sizeof(T));
}

/// Hashes of float32 and float64: those of tests/test_bits.py, which compares the two files.
struct Golden {
  const char* name;
  Net (*make)();
  const char *float32, *float64;
};
constexpr Golden kGolden[] = {
    {"tanh_net", tanh_net, "bdbcffe582dc5610", "dc9a6c0945a0f57a"},
    {"classifier", classifier, "4420f1e2c4c34546", "fc86d70525efdb12"},
    {"shared_layers", shared_layers, "da9501d3ae517b63", "7a192f98dde6e2b2"},
    {"robust_losses", robust_losses, "531c2bee3f9e3116", "ff8d9fdb10265769"},
    {"activations_with_parameters", activations_with_parameters, "f16ac10f83d19097", "0f1ec2afb7f45002"},
};

}  // namespace

TEST(sha256_of_known_texts) {
  const auto digest = [](const std::string& text) {
    return sha256(reinterpret_cast<const unsigned char*>(text.data()), text.size());
  };
  CHECK(digest("") == "e3b0c44298fc1c14");
  CHECK(digest("abc") == "ba7816bf8f01cfea");
  CHECK(digest(std::string(1000, 'a')) == "41edece42d63e8d9");
}

/// On the active instruction set: NNCORE_ISA chooses another one.
TEST(training_ends_in_the_golden_hashes) {
  set_num_threads(3);
  for (const Golden& golden : kGolden) {
    const Net net = golden.make();
    const std::string float32 = train<float>(net), float64 = train<double>(net);
    std::printf("%s %s: %s %s\n", active_instruction_set(), golden.name, float32.c_str(), float64.c_str());
    CHECK(float32 == golden.float32);
    CHECK(float64 == golden.float64);
  }
}
