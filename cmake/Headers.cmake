# Libraries of which headers are all that is used, and fmt and spdlog, which compile in seconds: those of the system where
# they are new enough, else the archive of a release, checked by its SHA-256 (docs/install.md).
#
# FETCHCONTENT_SOURCE_DIR_<NAME> names an unpacked copy, which is taken in place of both: FMT, SPDLOG, JSON, CLI11,
# TOMLPLUSPLUS, RANDOM123, BOOSTMATH. FETCHCONTENT_FULLY_DISCONNECTED=ON forbids to fetch. What cannot be had is one entry
# of spankey_missing, the list of Dependencies.cmake.
include(FetchContent)
set(github https://github.com)

# spankey_fetch(NAME URL SHA256 [ARGUMENTS OF FetchContent_Declare]): unpacks a release into <name>_SOURCE_DIR. Sets
# fetch_failed to why it could not, or to nothing. The archive is fetched here and not by FetchContent, which would end the
# configuration with a page of text.
function(spankey_fetch name url sha256)
  string(TOUPPER ${name} upper)
  set(fetch_failed "" PARENT_SCOPE)
  cmake_path(GET url FILENAME file)
  set(archive ${FETCHCONTENT_BASE_DIR}/archives/${name}-${file})
  if(FETCHCONTENT_SOURCE_DIR_${upper})
    if(NOT IS_DIRECTORY "${FETCHCONTENT_SOURCE_DIR_${upper}}")
      set(fetch_failed "FETCHCONTENT_SOURCE_DIR_${upper} names no folder" PARENT_SCOPE)
      return()
    endif()
  elseif(FETCHCONTENT_FULLY_DISCONNECTED AND NOT IS_DIRECTORY ${FETCHCONTENT_BASE_DIR}/${name}-src)
    set(fetch_failed "fetching is forbidden by FETCHCONTENT_FULLY_DISCONNECTED" PARENT_SCOPE)
    return()
  elseif(NOT FETCHCONTENT_FULLY_DISCONNECTED)
    file(DOWNLOAD ${url} ${archive} EXPECTED_HASH SHA256=${sha256} STATUS status TLS_VERIFY ON
         INACTIVITY_TIMEOUT 20 TIMEOUT 300)
    list(POP_FRONT status code text)
    if(NOT code EQUAL 0)
      file(REMOVE ${archive})
      string(REGEX REPLACE "[\";\n ]+" " " text "${text}")
      set(fetch_failed "${url} could not be fetched: ${text}" PARENT_SCOPE)
      return()
    endif()
  endif()
  FetchContent_Declare(${name} URL ${archive} URL_HASH SHA256=${sha256} DOWNLOAD_EXTRACT_TIMESTAMP OFF SYSTEM
                       EXCLUDE_FROM_ALL ${ARGN})
  FetchContent_MakeAvailable(${name})
  FetchContent_GetProperties(${name})
  set(${name}_SOURCE_DIR ${${name}_SOURCE_DIR} PARENT_SCOPE)
  message(STATUS "${name}: ${${name}_SOURCE_DIR}")
endfunction()

# spankey_release(VARIABLE NAME HEADER URL SHA256 WHAT PACKAGES): sets VARIABLE to the folder with HEADER, or adds WHAT, which
# says what the system lacks, to spankey_missing.
macro(spankey_release variable name header url sha256 what packages)
  spankey_fetch(${name} ${url} ${sha256} SOURCE_SUBDIR none)
  if(NOT fetch_failed AND NOT EXISTS ${${name}_SOURCE_DIR}/include/${header})
    set(fetch_failed "no include/${header} in ${${name}_SOURCE_DIR}")
  endif()
  if(fetch_failed)
    list(APPEND spankey_missing "${what} (${packages}, ${fetch_failed})")
  else()
    set(${variable} ${${name}_SOURCE_DIR}/include)
  endif()
endmacro()

# spankey_header_package(TARGET PACKAGE VERSION NAME HEADER URL SHA256 WHAT PACKAGES): a library with a CMake package.
macro(spankey_header_package target package version name header url sha256 what packages)
  string(TOUPPER ${name} upper)
  if(NOT FETCHCONTENT_SOURCE_DIR_${upper})
    spankey_look_for(${package} ${version})
  endif()
  if(NOT TARGET ${target})
    spankey_release(${name}_include ${name} ${header} ${url} ${sha256} "${what}${found_only}" "${packages}")
    add_library(${target} INTERFACE IMPORTED GLOBAL)
    target_include_directories(${target} SYSTEM INTERFACE ${${name}_include})
  endif()
endmacro()

# spankey_header_folder(VARIABLE NAME HEADER URL SHA256 WHAT PACKAGES [VERSION_FILE REGEX LEAST]): a library that is found by
# its header, and its version by the first line of VERSION_FILE that matches REGEX.
macro(spankey_header_folder variable name header url sha256 what packages)
  string(TOUPPER ${name} upper)
  set(found_only)
  if(NOT FETCHCONTENT_SOURCE_DIR_${upper})
    find_path(${variable} ${header})
    if(${variable} AND ${ARGC} GREATER 7 AND EXISTS "${${variable}}/${ARGV7}")
      file(STRINGS "${${variable}}/${ARGV7}" version_lines REGEX "${ARGV8}")
      string(REGEX REPLACE "[^0-9]+([0-9]+)" "\\1." found_version "${version_lines}")
      string(REGEX MATCH "^[0-9]+[.][0-9]+" found_version "${found_version}")
      if(found_version VERSION_LESS "${ARGV9}")
        set(found_only ", found only ${found_version}")
      endif()
    endif()
  endif()
  if(NOT ${variable} OR found_only OR FETCHCONTENT_SOURCE_DIR_${upper})
    spankey_release(${variable} ${name} ${header} ${url} ${sha256} "${what}${found_only}" "${packages}")
  endif()
endmacro()

# fmt and spdlog go together, since the system's spdlog was compiled with the system's fmt. A fmt that is found stays a target,
# so that a spdlog that is fetched is compiled with it.
set(fmt_found_only)
set(found_only)
if(NOT FETCHCONTENT_SOURCE_DIR_FMT)
  spankey_look_for(fmt 9)
  set(fmt_found_only "${found_only}")
  set(found_only)
  if(TARGET fmt::fmt AND NOT FETCHCONTENT_SOURCE_DIR_SPDLOG)
    spankey_look_for(spdlog 1.10)
  endif()
endif()
set(what "fmt 9${fmt_found_only} and spdlog 1.10${found_only}")
set(packages "Debian libfmt-dev libspdlog-dev, Fedora fmt-devel spdlog-devel, conda or Spack fmt spdlog")
set(fetch_failed)
if(TARGET fmt::fmt)
  get_target_property(fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
  list(GET fmt_include 0 fmt_include)
  if(NOT TARGET spdlog::spdlog AND fmt_VERSION VERSION_GREATER_EQUAL 11)
    set(fetch_failed "the one that would be fetched knows no fmt ${fmt_VERSION}")
  endif()
else()
  set(FMT_INSTALL OFF)
  set(CMAKE_POLICY_DEFAULT_CMP0077 NEW) # their option() takes what is set here
  spankey_fetch(fmt ${github}/fmtlib/fmt/archive/10.1.1.tar.gz
    78b8c0a72b1c35e4443a7e308df52498252d1cefc2b08c9a97bc9ee6cfe61f8b)
  if(NOT fetch_failed)
    set_target_properties(fmt PROPERTIES UNITY_BUILD OFF)
    set(fmt_include ${fmt_SOURCE_DIR}/include)
  endif()
endif()
if(NOT TARGET spdlog::spdlog AND NOT fetch_failed)
  set(SPDLOG_FMT_EXTERNAL ON)
  set(CMAKE_POLICY_DEFAULT_CMP0077 NEW)
  spankey_fetch(spdlog ${github}/gabime/spdlog/archive/v1.13.0.tar.gz
    534f2ee1a4dcbeb22249856edfb2be76a1cf4f708a20b0ac2ed090ee24cfdbc9)
  if(NOT fetch_failed)
    set_target_properties(spdlog PROPERTIES UNITY_BUILD OFF)
  endif()
endif()
if(fetch_failed)
  list(APPEND spankey_missing "${what} (${packages}, ${fetch_failed})")
endif()

spankey_header_package(nlohmann_json::nlohmann_json nlohmann_json 3.11 json nlohmann/json.hpp
  ${github}/nlohmann/json/archive/v3.11.3.tar.gz 0d8ef5af7f9794e3263480193c491549b2ba6cc74bb018906202ada498a79406
  "nlohmann-json 3.11" "Debian nlohmann-json3-dev, Fedora json-devel, conda nlohmann_json, Spack nlohmann-json")
spankey_header_package(CLI11::CLI11 CLI11 2.1 cli11 CLI/CLI.hpp
  ${github}/CLIUtils/CLI11/archive/v2.4.1.tar.gz 73b7ec52261ce8fe980a29df6b4ceb66243bb0b779451dbd3d014cfec9fdbb58
  "CLI11 2.1" "Debian libcli11-dev, Fedora cli11-devel, conda or Spack cli11")
spankey_header_folder(TOMLPLUSPLUS_INCLUDE_DIR tomlplusplus toml++/toml.h
  ${github}/marzer/tomlplusplus/archive/v3.4.0.tar.gz 8517f65938a4faae9ccf8ebb36631a38c1cadfb5efa85d9a72e15b9e97d25155
  "toml++ 3.3" "Debian libtomlplusplus-dev, Fedora tomlplusplus-devel, conda or Spack tomlplusplus"
  toml++/impl/version.h "define TOML_LIB_M[A-Z]+" 3.3)
spankey_header_folder(RANDOM123_INCLUDE_DIR random123 Random123/philox.h
  ${github}/DEShawResearch/random123/archive/v1.14.0.tar.gz
  effafd8656b18030b2a5b995cd3650c51a7c45052e6e1c21e48b9fa7a59d926e
  "Random123" "Debian librandom123-dev, Spack random123")
# Boost.Math needs no other part of Boost from 1.80 on.
spankey_header_folder(BOOST_MATH_INCLUDE_DIR boostmath boost/math/distributions/beta.hpp
  ${github}/boostorg/math/archive/boost-1.83.0.tar.gz 53e5f7539a66899fe0fca3080405cbd5f7959da5394ec13664746741aece1705
  "Boost.Math" "Debian libboost-dev, Fedora boost-devel, conda libboost-headers, Spack boost")
