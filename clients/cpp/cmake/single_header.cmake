# Joins public headers and, behind TFAAS_IMPLEMENTATION, private headers and sources to the one file OUTPUT.
# Needs SOURCE (this client's folder) and the list SOURCES.

set(PUBLIC result span options predictions model client rdataframe)
set(PRIVATE json wire transport sender workers core layout batch binding)

function(append file)
  file(READ "${SOURCE}/${file}" content)
  string(REGEX REPLACE "#include \"[^\"]*\"\n" "" content "${content}")
  string(REPLACE "#pragma once\n" "" content "${content}")
  file(APPEND "${OUTPUT}.new" "\n// ${file}\n${content}")
endfunction()

file(WRITE "${OUTPUT}.new" "/// The TFaaS client in one file, made from its sources; needs libcurl.
///
/// Exactly one source of a program, or a ROOT macro, defines TFAAS_IMPLEMENTATION before it includes this file.
#pragma once
")
foreach(name IN LISTS PUBLIC)
  append("include/tfaas/${name}.h")
endforeach()
file(APPEND "${OUTPUT}.new" "\n#ifdef TFAAS_IMPLEMENTATION\n")
foreach(name IN LISTS PRIVATE)
  append("src/${name}.h")
endforeach()
string(REPLACE " " ";" SOURCES "${SOURCES}")
foreach(source IN LISTS SOURCES)
  append("${source}")
endforeach()
file(APPEND "${OUTPUT}.new" "\n#endif  // TFAAS_IMPLEMENTATION\n")
file(RENAME "${OUTPUT}.new" "${OUTPUT}")
