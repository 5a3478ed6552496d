// Another program as a filter of text: what it is given, and what it says. Nothing of either is ever in the file system.
#pragma once

#include <string>
#include <vector>

namespace launcher::inline host {

struct ChildSpec;

// What a program said, and how it ended (as reap()). It has nothing on its standard input but `input`.
struct Said {
  std::string out, err;
  int code = 0;
};
Said run_quietly(const ChildSpec& child, const std::string& input = {});

// Its standard output. It finds its input as /proc/self/fd/0 and may seek in it. Throws std::runtime_error, with what it said of it,
// where it does not end with 0, std::system_error where it cannot be run.
std::string filtered(const std::vector<std::string>& argv, const std::string& input);

}  // namespace launcher::host
