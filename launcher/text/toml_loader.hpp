// A document in the making: its files (toml_document.cpp), then the --sets (toml_override.cpp), then its profile
// (toml_profile.cpp). The rule: nobody else includes this.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/text/toml_file.hpp"
#include "launcher/text/toml_node.hpp"

namespace launcher::inline text {

class TomlLoader {
 public:
  void load_main(const std::filesystem::path& file);
  void parse_main(std::string_view text, const std::string& file_name, std::optional<uid_t> reader = {});
  // Last; all problems that were found.
  Problems finish(const std::vector<std::string>& overrides, const std::vector<Profile>& profiles);

  std::unique_ptr<TomlDocument::Impl> impl = std::make_unique<TomlDocument::Impl>();

 private:
  void fail(Problem problem, TomlPlace place) { impl->broken.emplace_back(std::move(problem), place); }
  TomlNode read_source(const TomlFile& read, const std::string& name, const std::filesystem::path& file,
                       bool shown_if_broken);
  void apply(const std::string& override_text);
  void apply_profile(const std::vector<Profile>& profiles);  // it fills what nobody else says
  void include(TomlNode& into, const TomlNode& entry, const std::string& key);
  std::optional<std::filesystem::path> find_include(const TomlNode& entry, const std::string& key);
  std::string named(const TomlNode& entry) const;  // as the user would name it
  void set(TomlNode value, const std::vector<TomlStep>& steps, unsigned source);
  void fill(TomlNode& into, const TomlNode& defaults, const std::string& key);
  TomlNode* step_into(TomlNode& parent, const TomlStep& step, bool to_list, const TomlPlace& place,
                      const std::string& key);

  std::vector<std::filesystem::path> open_;  // canonical: the main file and the includes that lead to the current one
  std::set<std::filesystem::path> seen_;
  std::size_t looks_ = 0;
  bool given_up_ = false;
};

}  // namespace launcher::text
