// The readable keys as a JSON schema (draft 2020-12), for completion and checks in editors.
#include <boost/json.hpp>

#include "launcher/spec/read_spec.hpp"

namespace launcher::inline spec {

namespace json = boost::json;

namespace {

// Insertion order is kept, so that the file is the same bytes every time.
json::object& put(json::object& into, std::string_view key, json::value value) {
  return into[key] = std::move(value), into;
}

json::object any_of(json::array schemas) {
  if (schemas.size() == 1) return schemas[0].as_object();
  return {{"anyOf", std::move(schemas)}};
}

json::object string_of(const std::vector<std::string>& choices) {
  json::array words;
  for (const std::string& word : choices) words.emplace_back(word);
  return {{"enum", std::move(words)}};
}

json::object schema_of(const KeyInfo& key) {
  json::array alternatives;
  if (!key.choices.empty()) alternatives.push_back(string_of(key.choices));
  if (key.type == "integer") {
    json::object number = {{"type", "integer"}};
    if (key.min) put(number, "minimum", *key.min);
    if (key.max) put(number, "maximum", *key.max);
    alternatives.push_back(std::move(number));
  } else if (key.type == "boolean") {
    alternatives.push_back(json::object{{"type", "boolean"}});
  } else if (key.type == "size") {
    alternatives.push_back(json::object{{"type", "string"}, {"pattern", "^[0-9]+ *([KkMmGgTtPpEe](i?[Bb])?|B)?$"}});
  } else if (key.type == "cpus") {
    alternatives.push_back(json::object{{"type", "string"}, {"pattern", "^[0-9^][-0-9,^ ]*$"}});
    alternatives.push_back(json::object{
        {"type", "array"},
        {"items", json::object{{"type", "integer"}, {"minimum", 0}, {"maximum", topology::CpuSet::max_cpu}}},
        {"minItems", 1}});
  } else if (key.type == "list") {
    alternatives.push_back(json::object{{"type", "array"}, {"items", json::object{{"type", "string"}}}});
  } else if (key.type == "string" && key.choices.empty()) {
    alternatives.push_back(json::object{{"type", "string"}});
  }
  return any_of(std::move(alternatives));
}

// The schema of the table at `path` ("" or "disk[]"), from all keys right below it.
json::object table_schema(const std::string& path, const std::vector<KeyInfo>& keys) {
  json::object properties;
  json::array required;
  const std::string prefix = path.empty() ? "" : path + ".";
  for (const KeyInfo& key : keys) {
    if (!key.path.starts_with(prefix)) continue;
    const std::string name = key.path.substr(prefix.size());
    if (name.find('.') != name.npos) continue;
    if (key.type == "table")
      properties[name] = table_schema(key.path, keys);
    else if (key.type == "tables")
      properties[name] = json::object{{"type", "array"}, {"items", table_schema(key.path + "[]", keys)}};
    else
      properties[name] = schema_of(key);
    // Of a [table] the rest may come from an include; an item of [[disk]] is whole where it stands.
    const bool needed = key.required && path.ends_with("[]");
    if (needed) required.emplace_back(name);
  }
  json::object schema = {{"type", "object"}, {"properties", std::move(properties)}};
  if (!required.empty()) put(schema, "required", std::move(required));
  put(schema, "additionalProperties", false);
  return schema;
}

// Boost.JSON writes no line breaks; a file under version control wants them.
void write(std::string& out, const json::value& value, std::size_t depth) {
  const std::string indent(2 * (depth + 1), ' ');
  const auto items = [&](char open, char close, const auto& all, const auto& each) {
    out += open;
    bool first = true;
    for (const auto& item : all) {
      out += first ? "\n" + indent : ",\n" + indent;
      each(item);
      first = false;
    }
    out += "\n" + std::string(2 * depth, ' ') + close;
  };
  if (value.is_object() && !value.as_object().empty()) {
    items('{', '}', value.as_object(), [&](const json::key_value_pair& pair) {
      out += json::serialize(pair.key()) + ": ";
      write(out, pair.value(), depth + 1);
    });
  } else {
    out += json::serialize(value);
  }
}

}  // namespace

std::string json_schema() {
  json::object schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
                         {"title", "vmrun: one virtual machine"}};
  for (const json::key_value_pair& pair : table_schema("", spec_keys())) put(schema, pair.key(), pair.value());
  std::string out;
  write(out, schema, 0);
  return out + "\n";
}

}  // namespace launcher::spec
