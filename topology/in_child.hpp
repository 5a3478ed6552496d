// Runs a function in a child process: what may end by a signal (a library that reads what others wrote) ends the child only.
#pragma once

#include <expected>
#include <functional>
#include <string>

namespace topology {

// The text that work() returns in a child without core dumps, standard output and error, with 10 s of CPU time. Error: what
// it said, or how the child ended. To be called while this process has no other threads.
std::expected<std::string, std::string> in_child(const std::function<std::expected<std::string, std::string>()>& work);

}  // namespace topology
