#include "launcher/steps/files.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

#include "launcher/host/host.hpp"
#include "launcher/steps/context.hpp"

namespace launcher::inline steps {

std::string OpenFile::describe() const {
  return fmt::format("open {} {}", path, writable ? "for reading and writing" : "read-only");
}
void OpenFile::perform(PerformContext& context) const {
  Fd ours = context.host.files.open_file(path, writable, direct);
  if (reopened) ours = context.host.files.readable_copy(std::move(ours), context.uid);
  context.opened.fds[fd] = std::move(ours);
}

std::string Listen::describe() const { return fmt::format("listen on {}", path); }
void Listen::perform(PerformContext& context) const {
  const std::optional<unsigned> owner = for_qemu ? context.uid : std::nullopt;
  context.opened.fds[fd] = context.host.files.listen(path, owner);
}

std::string HoldPath::describe() const { return fmt::format("find {}", path); }
void HoldPath::perform(PerformContext& context) const { context.opened.fds[fd] = context.host.files.hold_path(path); }

std::string MakeDirectory::describe() const { return fmt::format("make directory {} for QEMU", path); }
void MakeDirectory::perform(PerformContext& context) const {
  context.opened.fds[fd] = context.host.files.make_directory(path, context.uid);
}

std::string OpenLog::describe() const { return fmt::format("open {} for appending, up to {}", path, to_string(most)); }
void OpenLog::perform(PerformContext& context) const {
  LogPipe& log = context.opened.logs.add({path, context.host.files.append_to(path), most.count});
  context.opened.fds[fd] = log.take_writer(true);  // QEMU would not stop trying
}

std::string KeepDirectory::describe() const {
  return fmt::format("make directory {}{}, unless it is there", path, for_qemu ? " for QEMU's user" : "");
}
void KeepDirectory::perform(PerformContext& context) const {
  context.host.files.keep_directory(path, for_qemu ? context.uid : std::nullopt);
}

std::string CopyOnce::describe() const { return fmt::format("copy {} to {}, unless it is there", from, to); }
void CopyOnce::perform(PerformContext& context) const { context.host.files.copy_once(from, to); }

std::string KeepText::describe() const { return fmt::format("write down in {} what it is for", path); }
void KeepText::perform(PerformContext& context) const { context.host.files.keep_text(path, text); }

std::string GiveFile::describe() const { return fmt::format("give {} to uid {} while the VM lives", path, uid); }
TakeFileBack GiveFile::precheck(PerformContext& context) const {
  const auto file = context.host.files.identity_of(path);
  if (!file) throw std::runtime_error(path + " is not there any more");
  context.opened.given[path] = *file;
  TakeFileBack back = undo();
  back.device = file->device;
  back.inode = file->inode;
  return back;
}
void GiveFile::perform(PerformContext& context) const {
  context.host.files.give_file(path, context.opened.given.at(path), uid, gid);
}

std::string TakeFileBack::describe() const { return fmt::format("give {} back to uid {}", path, uid); }
void TakeFileBack::perform(UndoContext& context) const {
  // an older vmrun's journal has no more than the name
  const auto file = device && inode ? FileIdentity{*device, *inode} : context.host.files.identity_of(path);
  if (file) context.host.files.give_file(path, *file, uid, gid);
}

}  // namespace launcher::steps
