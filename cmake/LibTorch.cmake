# LibTorch as an imported target, from the wheel in .venv or from LibTorch_ROOT.
# find_package(Torch) is not used: without a CUDA toolkit it is a fatal error, with one it adds
# architecture flags that the toolkit refuses (docs/decisions/libtorch-target.md).
file(GLOB wheel_torch ${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch)
set(LibTorch_ROOT "${wheel_torch}" CACHE PATH "Folder of LibTorch (holds include/ and lib/)")
if(NOT EXISTS "${LibTorch_ROOT}/lib/libtorch_cpu.so")
  spankey_refuse("LibTorch not found under LibTorch_ROOT='${LibTorch_ROOT}'; run launch/setup or set LibTorch_ROOT")
endif()
file(STRINGS "${LibTorch_ROOT}/include/torch/headeronly/version.h" version_lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) ")
string(REGEX REPLACE "[^0-9]+([0-9]+)[^0-9]+([0-9]+)[^0-9]+([0-9]+).*" "\\1.\\2.\\3" LibTorch_VERSION "${version_lines}")
message(STATUS "LibTorch ${LibTorch_VERSION} at ${LibTorch_ROOT}")

# The wheel carries headers of another fmt than the one that spdlog was built with; a folder with that one alone
# (fmt_include of Headers.cmake) is searched first.
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include-first)
file(CREATE_LINK ${fmt_include}/fmt ${CMAKE_BINARY_DIR}/include-first/fmt SYMBOLIC)

add_library(libtorch INTERFACE)
target_include_directories(libtorch SYSTEM BEFORE INTERFACE
  ${CMAKE_BINARY_DIR}/include-first
  ${LibTorch_ROOT}/include
  ${LibTorch_ROOT}/include/torch/csrc/api/include)
target_link_libraries(libtorch INTERFACE
  ${LibTorch_ROOT}/lib/libtorch_cpu.so ${LibTorch_ROOT}/lib/libc10.so)
