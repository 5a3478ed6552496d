// Commands that were sent before anybody waited for them, and what has come for them meanwhile.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "qmp/message.hpp"

namespace qmp {

class Ahead {
 public:
  using Answer = std::variant<Reply, Failure>;
  struct Sent {
    std::string line;  // without its id
    std::uint64_t id = 0;
    std::optional<Answer> answer;
  };

  void add(const Command& command, std::uint64_t id) { sent_.push_back({to_line(command, 0), id, {}}); }
  // Whoever takes it waits for its answer, if that is not there.
  std::optional<Sent> take(const Command& command) {
    if (sent_.empty()) return std::nullopt;
    const auto found = std::ranges::find(sent_, to_line(command, 0), &Sent::line);
    if (found == sent_.end()) return std::nullopt;
    Sent sent = std::move(*found);
    sent_.erase(found);
    return sent;
  }
  // Where an answer to this id belongs; nullptr: it is to none of them.
  std::optional<Answer>* place_for(std::uint64_t id) {
    const auto found = std::ranges::find(sent_, id, &Sent::id);
    return found == sent_.end() || found->answer ? nullptr : &found->answer;
  }
  // The one that is to be answered next; 0: none is.
  std::uint64_t next() const {
    const auto open = std::ranges::find_if(sent_, [](const Sent& sent) { return !sent.answer; });
    return open == sent_.end() ? 0 : open->id;
  }

 private:
  std::vector<Sent> sent_;
};

}  // namespace qmp
