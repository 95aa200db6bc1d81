// Opened from its folder, a page may not fetch another: the search then shows titles alone.
"use strict";

if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
