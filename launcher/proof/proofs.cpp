#include "launcher/proof/proofs.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#include "launcher/proof/subject.hpp"

namespace launcher::inline proof {

std::vector<Row> prove(const Subject& subject) {
  constexpr std::array all = {prove_threads,  prove_limits, prove_memory,   prove_images, prove_virtio,
                              prove_networks, prove_host,   prove_security, prove_guest,  prove_guest_settings};
  std::vector<Row> rows;
  for (const auto one : all) std::ranges::move(one(subject), std::back_inserter(rows));
  return rows;
}

std::vector<::qmp::Command> questions(const Subject& subject) {
  std::vector<::qmp::Command> all;
  for (auto part : {questions_of_memory(subject), questions_of_virtio(subject), questions_of_guest()})
    std::ranges::move(part, std::back_inserter(all));
  return all;
}

}  // namespace launcher::proof
