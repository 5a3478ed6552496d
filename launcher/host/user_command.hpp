// A command of the user's that runs beside us, with our environment, terminal and directory.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace launcher::inline host {

class UserCommand {
 public:
  // words_aside: what it says goes to our stderr, so that our stdout stays JSON. Throws std::system_error: "cannot run 'x'".
  UserCommand(const std::vector<std::string>& argv, bool words_aside);
  ~UserCommand();  // one that still runs is waited for
  UserCommand(const UserCommand&) = delete;
  UserCommand& operator=(const UserCommand&) = delete;
  // Its exit code, or 128 + signal; nullopt while it runs.
  std::optional<int> exit_code();
  int wait();  // the same, at its end

 private:
  bool look(int how);  // false: there is no such child

  pid_t pid_ = 0;
  std::optional<int> code_;
};

}  // namespace launcher::host
