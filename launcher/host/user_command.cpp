#include "launcher/host/user_command.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace launcher::inline host {

UserCommand::UserCommand(const std::vector<std::string>& argv, bool words_aside) {
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (words_aside) posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  const int error = posix_spawnp(&pid_, words[0], &actions, nullptr, words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), "cannot run '" + argv.at(0) + "'");
}

UserCommand::~UserCommand() { wait(); }

std::optional<int> UserCommand::exit_code() {
  look(WNOHANG);
  return code_;
}

int UserCommand::wait() {
  while (!code_ && look(0)) continue;
  return code_.value_or(-1);
}

bool UserCommand::look(int how) {
  int status = 0;
  const pid_t ended = code_ ? 0 : waitpid(pid_, &status, how);
  if (ended == pid_) code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return ended >= 0 || errno == EINTR;
}

}  // namespace launcher::host
